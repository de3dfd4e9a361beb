//! Prepares the linker for a Node addon (symbols of Node-API stay undefined until load).

fn main() {
    napi_build::setup();
}
