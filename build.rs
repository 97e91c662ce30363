//! Rust of `proto/`, without an installed `protoc`: protox reads the files, prost and tonic write the code.

use std::{error::Error, path::PathBuf};

const FILES: [&str; 1] = ["proto/orders/v1/orders.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    for file in FILES {
        println!("cargo::rerun-if-changed={file}");
    }
    let descriptors = protox::compile(FILES, ["proto"])?;
    // what reflection tells of the service
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo names no OUT_DIR")?);
    std::fs::write(out.join("orders.bin"), prost::Message::encode_to_vec(&descriptors))?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
