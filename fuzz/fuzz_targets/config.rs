#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| egg_cluster_rs::fuzzing::check("config", data));
