//! tokenizer.json: its fields, its bytes, every kind of part in it, and any text.

use std::path::Path;

use tinyllm_model::{Tokenizer, tokenizer::EncodeOptions};

use crate::{check_message, damage, fuzz, memory, pipeline, sound};

#[test]
fn reading_and_encoding() {
    let sound = std::fs::read(sound("dirs/00_valid/tokenizer.json")).unwrap();
    let parsed: serde_json::Value = serde_json::from_slice(&sound).unwrap();
    let foreign = pipeline::foreign();
    type Input = (u8, [u8; 12], Vec<damage::Wound>, String);
    fuzz::<Input>(|(kind, picks, wounds, text)| {
        let composed = || pipeline::tokenizer(*picks);
        let json = match kind % 8 {
            0 => sound.clone(),
            1 => damage::bytes(&sound, sound.len(), wounds),
            2 => damage::json(&parsed, wounds, &foreign).to_string().into_bytes(),
            3 => composed().to_string().into_bytes(),
            4 => {
                let json = composed().to_string().into_bytes();
                damage::bytes(&json, json.len(), wounds)
            }
            _ => damage::json(&composed(), wounds, &foreign).to_string().into_bytes(),
        };
        let Some(tokenizer) = check_message(Tokenizer::from_json(&json, Path::new("tokenizer.json"))) else {
            return;
        };
        // Text of the vocabulary's own letters, too.
        let text = format!("{text} a ab aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab b<s>é 42");
        for parse_special in [false, true] {
            let options = EncodeOptions { parse_special, add_special: parse_special };
            if let Some(ids) = check_message(tokenizer.encode(&text, options)) {
                check_message(tokenizer.decode(&ids, parse_special));
                let mut stream = tokenizer.decode_stream(false);
                for id in ids.into_iter().take(40) {
                    check_message(stream.push(id));
                }
                check_message(stream.finish());
            }
        }
        check_message(tokenizer.to_json());
        memory::check();
    });
}
