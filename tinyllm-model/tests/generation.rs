//! Answers: several at once are what each is alone, and one made a row at a time is what `generate` makes.
#![allow(clippy::unwrap_used)] // a test ends where it fails

mod common;

use std::{ops::ControlFlow, path::Path};

use common::RandomModel;
use proptest::prelude::*;
use tinyllm_mem::HostResource;
use tinyllm_model::{
    Engine, ModelError, Tokenizer, checkpoint,
    engine::{EngineOptions, KvCacheConfig},
    generation::{
        self, Event, FinishReason, Generation, GenerationParameters, GenerationRequest, GenerationState,
    },
    sampling::Sampling,
};

fn engine(max_batch_size: usize, budget_bytes: Option<usize>) -> Engine {
    let kv = KvCacheConfig::of_tokens(64).with_max_batch_size(max_batch_size).with_budget_bytes(budget_bytes);
    let options = EngineOptions::default().with_kv(kv).with_threads(Some(1)).with_prefill_chunk(7);
    let model = RandomModel::new(common::small_config(), 41);
    Engine::load(&model, &options, &HostResource::shared(), &|_| {}).unwrap()
}

/// The answer to a prompt in a sequence of its own.
fn alone(
    engine: &mut Engine,
    tokenizer: Option<&Tokenizer>,
    prompt: &[u32],
    parameters: &GenerationParameters,
) -> Generation {
    let sequence = engine.create_sequence().unwrap();
    let mut go_on = |_: Event<'_>| ControlFlow::Continue(());
    let answer = generation::generate(engine, sequence, tokenizer, prompt, parameters, &mut go_on).unwrap();
    engine.free_sequence(sequence).unwrap();
    answer
}

fn parameters(seed: u64, max_tokens: Option<usize>, stop_tokens: Vec<u32>) -> GenerationParameters {
    let sampling = Sampling::default().with_temperature(1.0).with_frequency_penalty(0.3).with_seed(seed);
    GenerationParameters::default()
        .with_sampling(sampling)
        .with_max_tokens(max_tokens)
        .with_stop_tokens(stop_tokens)
}

/// Bytes of a block of sixteen tokens of [`common::small_config`].
const BLOCK_BYTES: usize = 16 * 2 * 2 * 2 * 16 * 2;

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// More requests than sequences, or blocks, wait for their turn.
    #[test]
    fn a_batch_answers_as_each_is_answered_alone(
        requests in prop::collection::vec((1usize..50, 0usize..30, any::<u64>(), any::<bool>()), 1..9),
        max_batch_size in 1usize..4,
        blocks in prop::option::of(4usize..9),
    ) {
        let mut batched = engine(max_batch_size, blocks.map(|blocks| blocks * BLOCK_BYTES));
        let free = batched.free_blocks();
        let mut single = engine(1, None);
        let prompts: Vec<(Vec<u32>, GenerationParameters)> = requests
            .iter()
            .map(|(length, max_tokens, seed, stops)| {
                let prompt = (0..*length as u32).map(|i| (i * 7 + *seed as u32 % 11) % 50).collect();
                let stop_tokens = if *stops { (0..8).collect() } else { Vec::new() };
                (prompt, parameters(*seed, (*max_tokens > 0).then_some(*max_tokens), stop_tokens))
            })
            .collect();
        let requests: Vec<_> = prompts
            .iter()
            .map(|(prompt, parameters)| GenerationRequest::new(prompt, parameters))
            .collect();
        let mut tokens = vec![Vec::new(); requests.len()];
        let answers = generation::generate_batch(&mut batched, None, &requests, &mut |index, event| {
            if let Event::Token(token) = event {
                tokens[index].push(token);
            }
            ControlFlow::Continue(())
        })
        .unwrap();
        prop_assert_eq!(answers.len(), requests.len());
        for (index, (prompt, parameters)) in prompts.iter().enumerate() {
            let expected = alone(&mut single, None, prompt, parameters);
            prop_assert_eq!(&answers[index].ids, &expected.ids, "{}", index);
            prop_assert_eq!(&tokens[index], &expected.ids, "{}", index);
            prop_assert_eq!(answers[index].finish_reason, expected.finish_reason);
            prop_assert_eq!(answers[index].timings.prefilled_tokens, prompt.len());
            prop_assert_eq!(answers[index].timings.decoded_tokens, expected.timings.decoded_tokens);
        }
        prop_assert_eq!(batched.free_blocks(), free, "blocks were lost");
    }
}

#[test]
fn a_batch_is_refused_before_anything_runs() {
    let mut engine = engine(2, Some(3 * BLOCK_BYTES));
    let free = engine.free_blocks();
    let (good, long, empty) = (vec![1, 2, 3], vec![1; 100], vec![]);
    let (few, many) = (parameters(0, Some(4), vec![]), parameters(0, None, vec![]));
    let wrong = few.clone().with_sampling(Sampling::default().with_top_p(2.0));
    let mut events = 0;
    let mut refused = |second: GenerationRequest<'_>| {
        let requests = [GenerationRequest::new(&good, &few), second];
        let found = generation::generate_batch(&mut engine, None, &requests, &mut |_, _| {
            events += 1;
            ControlFlow::Continue(())
        });
        (found.unwrap_err(), engine.free_blocks())
    };
    let (error, _) = refused(GenerationRequest::new(&long, &few));
    assert!(matches!(error, ModelError::ContextExceeded { tokens: 100, .. }), "{error}");
    let (error, _) = refused(GenerationRequest::new(&empty, &few));
    assert!(matches!(error, ModelError::EmptyPrompt), "{error}");
    let (error, _) = refused(GenerationRequest::new(&[50], &few));
    assert!(matches!(error, ModelError::TokenOutOfVocabulary { id: 50, vocab_size: 50 }), "{error}");
    let (error, _) = refused(GenerationRequest::new(&good, &wrong));
    assert!(matches!(error, ModelError::InvalidParameter { name: "top_p", .. }), "{error}");
    // The context is 48 tokens, and the cache has three blocks of them.
    let fits = refused_or_answered(&mut engine, &good, &many);
    assert_eq!((fits.ids.len(), engine.free_blocks()), (46, free));
    assert_eq!(events, 0);
}

fn refused_or_answered(engine: &mut Engine, prompt: &[u32], parameters: &GenerationParameters) -> Generation {
    let requests = [GenerationRequest::new(prompt, parameters)];
    let go_on = &mut |_: usize, _: Event<'_>| ControlFlow::Continue(());
    generation::generate_batch(engine, None, &requests, go_on).unwrap().remove(0)
}

#[test]
fn one_answer_of_a_batch_is_cancelled_and_the_others_go_on() {
    let mut engine = engine(3, None);
    let parameters = parameters(5, Some(12), vec![]);
    let prompts = [[1u32; 20], [2; 20], [3; 20]];
    let expected = prompts.map(|prompt| alone(&mut engine, None, &prompt, &parameters));
    let requests = prompts.each_ref().map(|prompt| GenerationRequest::new(prompt, &parameters));
    // The first in its prompt, the second at its third token.
    let mut tokens = 0;
    let answers = generation::generate_batch(&mut engine, None, &requests, &mut |index, event| match event {
        Event::Prefill if index == 0 => ControlFlow::Break(()),
        Event::Token(_) if index == 1 => {
            tokens += 1;
            if tokens == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
        _ => ControlFlow::Continue(()),
    })
    .unwrap();
    let found: Vec<_> = answers.iter().map(|answer| (answer.ids.len(), answer.finish_reason)).collect();
    let (cancelled, length) = (FinishReason::Cancelled, FinishReason::Length);
    assert_eq!(found, [(0, cancelled), (3, cancelled), (12, length)]);
    assert_eq!(answers[1].ids, expected[1].ids[..3]);
    assert_eq!(answers[2].ids, expected[2].ids);
    assert_eq!(engine.free_blocks(), 3 * 4);
}

#[test]
fn text_comes_as_it_becomes_certain_and_ends_at_a_stop_string() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tinyllm-cli/assets/tiny-austen");
    let checkpoint = checkpoint::open(&folder).unwrap();
    let tokenizer = Tokenizer::from_directory(&folder).unwrap();
    let kv = KvCacheConfig::of_tokens(200).with_max_batch_size(2);
    let options = EngineOptions::default().with_kv(kv).with_threads(Some(1));
    let mut engine = Engine::load(&*checkpoint, &options, &HostResource::shared(), &|_| {}).unwrap();
    let prompt = tokenizer.encode("It is a truth", Default::default()).unwrap();
    let free = parameters(7, Some(60), vec![]);
    let whole = alone(&mut engine, Some(&tokenizer), &prompt, &free);
    assert_eq!(whole.text, tokenizer.decode(&whole.ids, true).unwrap());
    // A stop string from the middle of it.
    let chars: Vec<char> = whole.text.chars().collect();
    let stop: String = chars[chars.len() / 2..][..4].iter().collect();
    let before = &whole.text[..whole.text.find(&stop).unwrap()];
    let stopping = free.clone().with_stop_strings(vec![stop.clone()]);

    let sequence = engine.create_sequence().unwrap();
    let mut state = GenerationState::new(&stopping, engine.config(), Some(&tokenizer), 100).unwrap();
    engine.prefill(sequence, &prompt, &mut || true).unwrap();
    let (mut ids, mut text) = (Vec::new(), String::new());
    loop {
        let advance = state.advance(engine.sampled_row(0).unwrap()).unwrap();
        ids.extend(advance.token);
        text.push_str(advance.text);
        assert!(before.starts_with(&text), "{text:?} is not certain");
        match advance.finished {
            Some(reason) => break assert_eq!(reason, FinishReason::Stop),
            None => engine.decode(sequence, advance.token.unwrap()).unwrap(),
        };
    }
    assert_eq!(text, before);
    assert_eq!(ids, whole.ids[..ids.len()]);
    // It stays as it is.
    let again = state.advance(engine.sampled_row(0).unwrap()).unwrap();
    assert_eq!((again.token, again.text, again.finished), (None, "", Some(FinishReason::Stop)));
    assert_eq!(state.cancel().unwrap().finished, Some(FinishReason::Stop));
    engine.free_sequence(sequence).unwrap();

    // And so do both in a batch.
    let requests = [&free, &stopping].map(|parameters| GenerationRequest::new(&prompt, parameters));
    let mut texts = [String::new(), String::new()];
    let answers =
        generation::generate_batch(&mut engine, Some(&tokenizer), &requests, &mut |index, event| {
            if let Event::Text(text) = event {
                texts[index].push_str(text);
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(texts, [whole.text.as_str(), before]);
    assert_eq!(answers.iter().map(|answer| answer.text.as_str()).collect::<Vec<_>>(), texts);
}
