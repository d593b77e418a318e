//! GGUF files: header, metadata, tensors, and the vocabulary and template inside.

use tinyllm_model::{
    Tokenizer,
    chat::{ChatTemplate, TemplateSource},
    checkpoint::{Checkpoint, GgufCheckpoint, TensorData, gguf::Gguf},
    tokenizer::EncodeOptions,
};

use crate::{check_message, damage, fuzz, memory, sound};

#[test]
fn reading() {
    let sound = std::fs::read(sound("gguf/00_valid.gguf")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.gguf");
    fuzz::<(bool, Vec<damage::Wound>)>(|(anywhere, wounds)| {
        let reach = if *anywhere { sound.len() } else { 4096 };
        std::fs::write(&path, damage::bytes(&sound, reach, wounds)).unwrap();
        if let Some(checkpoint) = check_message(GgufCheckpoint::open(&path)) {
            for index in 0..checkpoint.tensors().len() {
                if let Some(TensorData::Float(rows)) = check_message(checkpoint.open(index)) {
                    let (n, k) = rows.shape();
                    rows.read(0..n, &mut vec![0.0; n * k]).unwrap();
                }
            }
        }
        if let Some(gguf) = check_message(Gguf::open(&path)) {
            if let Some(tokenizer) = check_message(Tokenizer::from_gguf(&gguf)) {
                let options = EncodeOptions { parse_special: true, add_special: true };
                let ids = check_message(tokenizer.encode("It's 42 — naïve\u{0}<s> 東京", options));
                ids.map(|ids| check_message(tokenizer.decode(&ids, false)));
            }
            if let Some(Some(source)) = check_message(TemplateSource::from_gguf(&gguf)) {
                check_message(ChatTemplate::new(&source));
            }
        }
        memory::check();
    });
}
