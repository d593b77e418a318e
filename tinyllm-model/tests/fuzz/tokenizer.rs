//! tokenizer.json: its fields, its bytes, and any text.

use std::path::Path;

use tinyllm_model::{Tokenizer, tokenizer::EncodeOptions};

use crate::{check_message, damage, fuzz, memory, sound};

#[test]
fn reading_and_encoding() {
    let sound = std::fs::read(sound("dirs/00_valid/tokenizer.json")).unwrap();
    let parsed: serde_json::Value = serde_json::from_slice(&sound).unwrap();
    type Input = (u8, Vec<damage::Wound>, String);
    fuzz::<Input>(|(kind, wounds, text)| {
        let json = match kind % 4 {
            0 => sound.clone(),
            1 => damage::bytes(&sound, sound.len(), wounds),
            _ => damage::json(&parsed, wounds).to_string().into_bytes(),
        };
        let Some(tokenizer) = check_message(Tokenizer::from_json(&json, Path::new("tokenizer.json"))) else {
            return;
        };
        for parse_special in [false, true] {
            let options = EncodeOptions { parse_special, add_special: parse_special };
            if let Some(ids) = check_message(tokenizer.encode(text, options)) {
                check_message(tokenizer.decode(&ids, parse_special));
                let mut stream = tokenizer.decode_stream(false);
                for id in ids {
                    check_message(stream.push(id));
                }
                check_message(stream.finish());
            }
        }
        memory::check();
    });
}
