//! A file goes in and comes out.

use crate::harness::{kafkalab, topic};

#[test]
fn a_file_comes_back_byte_for_byte() {
    let topic = topic("file");
    // empty lines, a carriage return, no UTF-8, a last line without its newline would come back with one
    let file: Vec<u8> =
        (0..10_000u32).flat_map(|n| format!("{n}\n\n\r\n\u{e4}{n}\n").into_bytes()).chain(*b"\xff\xfe\n").collect();
    kafkalab(["produce", &topic]).stdin(file.clone()).run().ok();
    let back = kafkalab(["consume", &topic, "-e"]).run().ok();
    assert!(back.stdout == file, "{} bytes went in, {} came out", file.len(), back.stdout.len());
}
