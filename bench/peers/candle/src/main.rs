//! candle's quantized LLaMA, measured as `compare.py` measures the others. Not here: anything that chooses what is run.
//!
//! `candle-peer MODEL.gguf PROMPT GENERATE DEPTH` prints one JSON object: tokens a second of a prompt of PROMPT tokens and of
//! GENERATE more one after another, each from DEPTH tokens in the cache; 0 leaves one out. A fifth argument `warm-up` runs
//! the prompt and a token before. Threads are those of rayon: RAYON_NUM_THREADS.

use std::{env, fs::File, io::BufReader, time::Instant};

use anyhow::{Context, bail};
use candle_core::{Device, Tensor, quantized::gguf_file};
use candle_transformers::models::quantized_llama::ModelWeights;

/// A prompt is prefilled in chunks of this many tokens, as to the others.
const CHUNK_TOKENS: usize = 512;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (path, counts) = match arguments.as_slice() {
        [path, counts @ ..] if counts.len() >= 3 => (path, counts),
        _ => bail!("usage: candle-peer MODEL.gguf PROMPT GENERATE DEPTH [warm-up]"),
    };
    let count = |index: usize| counts[index].parse::<usize>().with_context(|| counts[index].clone());
    let (prompt, generate, depth) = (count(0)?, count(1)?, count(2)?);
    let warms_up = counts.get(3).is_some_and(|word| word == "warm-up");

    let mut model = Model::open(path)?;
    if warms_up {
        model.prefill(prompt)?;
        model.generate(1)?;
    }
    let mut fields = Vec::new();
    if prompt > 0 {
        model.restart(depth)?;
        let start = Instant::now();
        model.prefill(prompt)?;
        let speed = prompt as f64 / start.elapsed().as_secs_f64();
        fields.push(format!("\"prefill_tokens_per_s\": {speed}"));
    }
    if generate > 0 {
        model.restart(depth)?;
        let start = Instant::now();
        model.generate(generate)?;
        let speed = generate as f64 / start.elapsed().as_secs_f64();
        fields.push(format!("\"decode_tokens_per_s\": {speed}"));
    }
    println!("{{{}}}", fields.join(", "));
    Ok(())
}

struct Model {
    weights: ModelWeights,
    vocabulary: usize,
    /// Tokens in the cache.
    position: usize,
}

impl Model {
    fn open(path: &str) -> anyhow::Result<Self> {
        let mut file = BufReader::new(File::open(path).with_context(|| path.to_owned())?);
        let content = gguf_file::Content::read(&mut file)?;
        let table = content.tensor_infos.get("token_embd.weight").context("no token_embd.weight")?;
        let vocabulary = table.shape.dims()[0];
        let weights = ModelWeights::from_gguf(content, &mut file, &Device::Cpu)?;
        Ok(Model { weights, vocabulary, position: 0 })
    }

    /// An empty cache, then `depth` tokens.
    fn restart(&mut self, depth: usize) -> anyhow::Result<()> {
        self.weights.clear_kv_cache();
        self.position = 0;
        self.prefill(depth)
    }

    fn prefill(&mut self, count: usize) -> anyhow::Result<()> {
        let tokens: Vec<u32> = (0..count).map(|index| (index * 37 % self.vocabulary) as u32).collect();
        tokens.chunks(CHUNK_TOKENS).try_for_each(|chunk| self.forward(chunk))
    }

    /// One token after another; which ones does not matter for the time.
    fn generate(&mut self, count: usize) -> anyhow::Result<()> {
        (0..count).try_for_each(|step| self.forward(&[(step * 11 % self.vocabulary) as u32]))
    }

    fn forward(&mut self, tokens: &[u32]) -> anyhow::Result<()> {
        let input = Tensor::new(tokens, &Device::Cpu)?.unsqueeze(0)?;
        self.weights.forward(&input, self.position)?;
        self.position += tokens.len();
        Ok(())
    }
}
