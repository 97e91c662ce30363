//! Records as the tests mean them: written as JSON for `produce --input json`, printed as kcat prints them, and read back
//! from `consume --json`. All three are made here by other code than the program's.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

/// All that kcat can print of a record on one line.
pub const FORMAT: &str = r"%t|%p|%o|%T|%K|%S|%k|%s|%h|\n";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rec {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Milliseconds; 0 is "whatever the producer's clock says".
    pub ts: i64,
}

impl Rec {
    pub fn new(key: Option<&[u8]>, value: Option<&[u8]>) -> Self {
        Self { key: key.map(<[u8]>::to_vec), value: value.map(<[u8]>::to_vec), ..Self::default() }
    }

    pub fn at(self, ts: i64) -> Self {
        Self { ts, ..self }
    }

    pub fn header(mut self, name: &[u8], value: Option<&[u8]>) -> Self {
        self.headers.push((name.to_vec(), value.map(<[u8]>::to_vec)));
        self
    }

    /// A line for `produce --input json`, everything in base64.
    pub fn to_json(&self) -> String {
        let coded = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|bytes| STANDARD.encode(bytes));
        let headers: Vec<Value> = self
            .headers
            .iter()
            .map(|(name, value)| {
                let (name, value) = (STANDARD.encode(name), coded(value));
                json!({"key": name, "key_encoding": "base64", "value": value, "value_encoding": "base64"})
            })
            .collect();
        let ts = if self.ts == 0 { Value::Null } else { self.ts.into() };
        json!({
            "key": coded(&self.key), "key_encoding": "base64",
            "payload": coded(&self.value), "payload_encoding": "base64",
            "headers": headers, "ts": ts,
        })
        .to_string()
    }

    /// A line of `consume --json`.
    pub fn from_json(line: &str) -> Self {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let headers = line["headers"].as_array().expect("headers are a list");
        Self {
            key: field(&line, "key"),
            value: field(&line, "payload"),
            headers: headers
                .iter()
                .map(|header| (field(header, "key").expect("a header has a name"), field(header, "value")))
                .collect(),
            ts: line["ts"].as_i64().expect("ts is a number"),
        }
    }

    /// As kcat prints it with [`FORMAT`]; `null` stands for a null key or value.
    pub fn printed(&self, topic: &str, partition: i32, offset: usize, null: &str) -> Vec<u8> {
        let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(-1, |bytes| bytes.len() as i64);
        let mut out = format!("{topic}|{partition}|{offset}|{}|", self.ts).into_bytes();
        out.extend(format!("{}|{}|", length(&self.key), length(&self.value)).into_bytes());
        out.extend(self.key.as_deref().unwrap_or(null.as_bytes()));
        out.push(b'|');
        out.extend(self.value.as_deref().unwrap_or(null.as_bytes()));
        out.push(b'|');
        for (index, (name, value)) in self.headers.iter().enumerate() {
            out.extend(if index > 0 { &b","[..] } else { b"" });
            out.extend(name);
            out.push(b'=');
            out.extend(value.as_deref().unwrap_or(b"NULL"));
        }
        out.extend(b"|\n");
        out
    }
}

fn field(object: &Value, name: &str) -> Option<Vec<u8>> {
    let text = object[name].as_str().or_else(|| {
        assert!(object[name].is_null(), "{name} is neither text nor null: {object}");
        None
    })?;
    match object[format!("{name}_encoding")].as_str() {
        None => Some(text.as_bytes().to_vec()),
        Some("base64") => Some(STANDARD.decode(text).expect("base64")),
        Some(other) => panic!("{name}: encoding {other}"),
    }
}

/// Lines for `produce --input json`.
pub fn to_json_lines(records: &[Rec]) -> String {
    records.iter().map(|record| record.to_json() + "\n").collect()
}

/// All that a text format, a JSON writer or a codec may stumble over.
pub fn awkward() -> Vec<Rec> {
    let every_byte: Vec<u8> = (0..=255).collect();
    let text = "naïve \u{202e}right to left\u{2028} \u{1f980} \"quoted\" \\n";
    let mut records = vec![
        Rec::new(None, Some(b"")),
        Rec::new(None, None),
        Rec::new(Some(b""), None),
        Rec::new(Some(b""), Some(b"")),
        Rec::new(Some(b"key"), Some(b"value")),
        Rec::new(Some(b"NULL"), Some(b"NULL")),
        Rec::new(Some(b"\xff\xfe"), Some(&every_byte)),
        Rec::new(Some(&every_byte), Some(b"\xc3\x28 cut \xe2\x82")),
        Rec::new(Some(text.as_bytes()), Some(text.as_bytes())),
        Rec::new(Some(b"a\nb\tc\0d"), Some(b"\r\n\n\x1b[31mred")),
        Rec::new(None, Some(b"one")).header(b"h", Some(b"1")),
        Rec::new(None, Some(b"twice"))
            .header(b"h", Some(b"1"))
            .header(b"g", Some(b""))
            .header(b"h", Some(b"2"))
            .header(b"h", Some(b"1")),
        Rec::new(None, None).header(b"null", None).header(b"empty", Some(b"")).header(b"null", None),
        Rec::new(None, Some(b"bytes")).header(b"n=a,m\xff", Some(b"\xff,\n=\xfe")),
        Rec::new(Some(b"long"), Some(&b"0123456789abcdef".repeat(5000))),
    ];
    let yesterday = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as i64) - 86_400_000;
    for (index, record) in records.iter_mut().enumerate() {
        // a second back with every other record: times need not grow with offsets
        record.ts = yesterday + if index % 2 == 0 { index as i64 } else { -1000 };
    }
    records
}
