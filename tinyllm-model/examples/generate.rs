//! Opens a model and continues a prompt: `cargo run --release --example generate -- MODEL "Once upon a time"`.
#![allow(clippy::print_stdout)] // an example shows what it made

use std::{ops::ControlFlow, path::Path};

use tinyllm_model::{HostResource, ModelFiles, engine::EngineOptions, generation};

fn main() -> tinyllm_model::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().unwrap_or("tinyllm-cli/assets/tiny-austen".into());
    let prompt = arguments.next().unwrap_or("It is a truth universally acknowledged".into());
    let files = ModelFiles::open(Path::new(&path))?;
    let mut model = files.load(&EngineOptions::default(), &HostResource::shared(), &|_| {})?;
    let sequence = model.engine.create_sequence()?;
    let ids = model.tokenizer.encode(&prompt, Default::default())?;
    let parameters = generation::GenerationParameters::default().with_max_tokens(64);
    let tokenizer = Some(&model.tokenizer);
    let mut hear = |_: generation::Event<'_>| ControlFlow::Continue(());
    let answer = generation::generate(&mut model.engine, sequence, tokenizer, &ids, &parameters, &mut hear)?;
    println!("{prompt}{}", answer.text);
    Ok(())
}
