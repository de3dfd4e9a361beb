//! Prepares the linker for a Node addon (symbols of Node-API stay undefined until load).

fn main() {
    napi_build::setup();
    // Node unloads an addon with the last worker thread that has loaded it. Threads of ours
    // may still be in its code then.
    if is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
    // The addon is a program, too: see src/sys/guardian/program.rs.
    if is("CARGO_CFG_TARGET_OS", "linux") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-e,egg_cluster_rs_guardian");
    }
}

fn is(variable: &str, value: &str) -> bool {
    std::env::var(variable).is_ok_and(|found| found == value)
}
