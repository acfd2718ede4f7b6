#![no_main]
//! X10: no bytes make this parser panic.

libfuzzer_sys::fuzz_target!(|data: &[u8]| kapi::fuzz::run("kapi_token", data));
