//! Programs that the builder refuses.

use std::sync::Arc;

use tinyllm_kernels::{
    GroupSize, KvFormat, KvShape, Limits, Matmul, Op, ProgramBuilder, RegionFormat, RegionSpec, RowSet,
    WeightFormat,
};

use crate::harness::{activations, builder, input, int8, kv, limits, part, refusal, region, vector, weight};

#[test]
fn parts_of_one_operation_share_their_input() {
    let mut b = builder(32);
    let (w1, w2) = (weight(&mut b, "w1", (16, 64), int8(32)), weight(&mut b, "w2", (16, 64), int8(32)));
    let regions = ["a", "c"].map(|name| activations(&mut b, name, 64, int8(32)));
    let outs = ["o1", "o2"].map(|name| region(&mut b, name, RowSet::Tokens, 16));
    b.push(Op::Linear { parts: vec![part(regions[0], w1, outs[0]), part(regions[1], w2, outs[1])] });
    assert!(refusal(b.finish(outs[0])).contains("different inputs"));

    let mut b = builder(32);
    let (w1, w2) = (
        weight(&mut b, "w1", (16, 64), WeightFormat::F32),
        weight(&mut b, "w2", (16, 64), WeightFormat::F32),
    );
    let regions = ["a", "c"].map(|name| region(&mut b, name, RowSet::Tokens, 64));
    let out = region(&mut b, "out", RowSet::Tokens, 16);
    let [gate, up] =
        [(regions[0], w1), (regions[1], w2)].map(|(input, weight)| Matmul::new(input, weight, None));
    b.push(Op::SwiGluLinear { gate, up, out });
    assert!(refusal(b.finish(out)).contains("different inputs"));
}

#[test]
fn parts_of_one_operation_have_the_same_rows() {
    let mut b = builder(15);
    let (w1, w2) =
        (weight(&mut b, "w1", (32, 64), int8(32)), weight(&mut b, "w2", (32, 64), WeightFormat::F32));
    let (tokens, sampled) =
        (activations(&mut b, "a", 64, int8(32)), region(&mut b, "s", RowSet::Sampled, 64));
    let (o1, o2) = (region(&mut b, "o1", RowSet::Tokens, 32), region(&mut b, "o2", RowSet::Sampled, 32));
    b.push(Op::Linear { parts: vec![part(tokens, w1, o1), part(sampled, w2, o2)] });
    assert!(refusal(b.finish(o2)).contains("rows"));
}

#[test]
fn an_operation_writes_no_region_that_it_reads_or_writes_already() {
    let mut b = builder(4);
    let (a, v) = (region(&mut b, "a", RowSet::Tokens, 64), vector(&mut b, 64));
    b.push(Op::RmsNorm { input: a, weight: v, eps: 0.0, out: a });
    assert!(refusal(b.finish(a)).contains("writes a, which it reads"));

    let mut b = builder(4);
    let (a, w) = (region(&mut b, "a", RowSet::Tokens, 64), weight(&mut b, "w", (64, 64), WeightFormat::F32));
    b.push(Op::Linear { parts: vec![part(a, w, a)] });
    assert!(refusal(b.finish(a)).contains("writes a, which it reads"));

    // A matmul may add to the residual stream, but not read it as its input.
    for accumulate in [false, true] {
        let mut b = builder(4);
        let (a, w) =
            (region(&mut b, "a", RowSet::Tokens, 64), weight(&mut b, "w", (64, 64), WeightFormat::F32));
        let out = region(&mut b, "out", RowSet::Tokens, 64);
        let mut twice = part(a, w, out);
        twice.accumulate = accumulate;
        b.push(Op::Linear { parts: vec![twice, twice] });
        assert!(refusal(b.finish(out)).contains("writes out twice"));
    }
    let mut b = builder(4);
    let (a, w) = (region(&mut b, "a", RowSet::Tokens, 64), weight(&mut b, "w", (64, 64), WeightFormat::F32));
    let mut onto_itself = part(a, w, a);
    onto_itself.accumulate = true;
    b.push(Op::Linear { parts: vec![onto_itself] });
    assert!(refusal(b.finish(a)).contains("writes a, which it reads"));

    let mut b = builder(4);
    let q = region(&mut b, "q", RowSet::Tokens, 16);
    b.push(Op::Attention { q, layer: 0, scale: 1.0, window: None, out: q });
    assert!(refusal(b.finish(q)).contains("writes q, which it reads"));

    // q must not be the region of k, v or the table.
    for same in 1..4 {
        let mut b = builder(4);
        let mut regions = ["q", "k", "v", "table"].map(|name| region(&mut b, name, RowSet::Tokens, 16));
        regions[same] = regions[0];
        let [q, k, v, table] = regions;
        b.push(Op::RopeAndCacheWrite { q, k, v, table, qk_norm: None, eps: 0.0, layer: 0 });
        assert!(refusal(b.finish(q)).contains("writes q"), "{same}");
    }
}

#[test]
fn kv_heads_divide_query_heads() {
    for query_heads in [1, 3] {
        let kv = KvShape::new(1, 2, 16, 16, KvFormat::F32).unwrap();
        let mut b = ProgramBuilder::new(limits(4)).with_cache(query_heads, kv);
        let q = region(&mut b, "q", RowSet::Tokens, query_heads * 16);
        let out = region(&mut b, "out", RowSet::Tokens, query_heads * 16);
        b.push(Op::Attention { q, layer: 0, scale: 1.0, window: None, out });
        assert!(refusal(b.finish(out)).contains("query heads"));
    }
    let mut b = ProgramBuilder::new(limits(4)).with_cache(0, kv());
    let (q, out) = (region(&mut b, "q", RowSet::Tokens, 0), region(&mut b, "out", RowSet::Tokens, 0));
    b.push(Op::Attention { q, layer: 0, scale: 1.0, window: None, out });
    assert!(refusal(b.finish(out)).contains("no query heads"));
}

/// Operations on the step's tokens need regions with a row for each token.
#[test]
fn token_operations_need_token_rows() {
    let sampled = |b: &mut ProgramBuilder, name: &str| region(b, name, RowSet::Sampled, 16);
    let mut b = builder(4);
    let (table, out) = (weight(&mut b, "t", (4, 16), WeightFormat::F32), sampled(&mut b, "out"));
    b.push(Op::Embed { table, out });
    assert!(refusal(b.finish(out)).contains("rows"));

    let mut b = builder(4);
    let out = sampled(&mut b, "out");
    b.push(Op::RotaryTable { inverse_frequencies: Arc::from([1.0; 8]), scale: 1.0, out });
    assert!(refusal(b.finish(out)).contains("rows"));

    let mut b = builder(4);
    let (q, out) = (sampled(&mut b, "q"), sampled(&mut b, "out"));
    b.push(Op::Attention { q, layer: 0, scale: 1.0, window: None, out });
    assert!(refusal(b.finish(out)).contains("rows"));

    for few in 0..4 {
        let mut b = builder(4);
        let mut names = ["q", "k", "v", "table"].into_iter().enumerate();
        let [q, k, v, table] = std::array::from_fn(|_| {
            let (index, name) = names.next().unwrap();
            region(&mut b, name, if index == few { RowSet::Sampled } else { RowSet::Tokens }, 16)
        });
        b.push(Op::RopeAndCacheWrite { q, k, v, table, qk_norm: None, eps: 0.0, layer: 0 });
        assert!(refusal(b.finish(q)).contains("rows"), "{few}");
    }
}

#[test]
fn ids_of_another_builder_are_refused() {
    let mut other = builder(4);
    let foreign = region(&mut other, "r", RowSet::Tokens, 16);
    let (foreign_weight, foreign_vector) =
        (weight(&mut other, "w", (16, 16), WeightFormat::F32), vector(&mut other, 16));
    let own = || {
        let mut b = builder(4);
        let (a, c) = (input(&mut b, "a", 16), region(&mut b, "c", RowSet::Tokens, 16));
        let (w, v) = (weight(&mut b, "w", (16, 16), WeightFormat::F32), vector(&mut b, 16));
        (b, a, c, w, v)
    };
    let (b, ..) = own();
    assert!(refusal(b.finish(foreign)).contains("output"));
    let (mut b, a, c, w, v) = own();
    let mut part_with_bias = part(a, w, c);
    part_with_bias.matmul.bias = Some(foreign_vector);
    assert!(b.weight_spec(foreign_weight).is_none() && b.weight_spec(w).is_some());
    b.push(Op::Linear { parts: vec![part(a, w, c)] });
    b.push(Op::RmsNorm { input: a, weight: v, eps: 0.0, out: c });
    assert!(b.finish(c).is_ok());
    let wrong = |op: Op| {
        let (mut b, _, c, _, _) = own();
        b.push(op);
        assert!(refusal(b.finish(c)).contains("does not have"));
    };
    wrong(Op::Linear { parts: vec![part(a, w, c)] });
    wrong(Op::Embed { table: foreign_weight, out: c });
    wrong(Op::Linear { parts: vec![part_with_bias] });
}

#[test]
fn sizes_that_overflow_are_refused() {
    let too_large = |limits: Limits, columns: usize| {
        let mut b = ProgramBuilder::new(limits).with_cache(1, kv());
        let a = region(&mut b, "a", RowSet::Tokens, columns);
        assert!(refusal(b.finish(a)).contains("more than any memory holds"));
    };
    let with = |max_tokens, max_sampled_rows, max_sequences| {
        Limits::of_tokens(max_tokens).with_sampled_rows(max_sampled_rows).with_sequences(max_sequences, 8)
    };
    too_large(with(1, 1, 1).with_sequences(1, 1 << 45), 1);
    too_large(with(1 << 57, 1, 1), 1024);
    too_large(with(1, usize::MAX, 1), 1);
    too_large(with(1, 1, usize::MAX), 1);
    too_large(with(1 << 30, 1, 1), 1 << 30);
    too_large(with(1, 1, 1), usize::MAX);
    for shape in [(1 << 40, 1 << 40), (usize::MAX, 1), (1, usize::MAX - 15), (1 << 28, 1 << 28)] {
        let mut b = builder(1);
        let a = region(&mut b, "a", RowSet::Tokens, 1);
        weight(&mut b, "w", shape, int8(32));
        assert!(refusal(b.finish(a)).contains("w: "), "{shape:?}");
    }
    let mut b = builder(1);
    let a = region(&mut b, "a", RowSet::Tokens, 1);
    vector(&mut b, usize::MAX);
    assert!(refusal(b.finish(a)).contains("vector"));
    for query_heads in [usize::MAX, 1 << 40] {
        let mut b = ProgramBuilder::new(limits(1)).with_cache(query_heads, kv());
        let a = region(&mut b, "a", RowSet::Tokens, 1);
        assert!(refusal(b.finish(a)).contains("query heads"));
    }
    for (layers, heads, head_dim, block) in
        [(1 << 40, 1 << 40, 1, 16), (1, 1, usize::MAX / 8, 16), (1, 1, 1, 1 << 60)]
    {
        assert!(refusal(KvShape::new(layers, heads, head_dim, block, KvFormat::F16)).contains("memory"));
    }
}

/// Group sizes that the kernels cannot run, and rows with too many pieces.
#[test]
fn group_sizes_that_cannot_run_are_refused() {
    for (group, k) in [(1, 64), (601, 1202), (2, 10_000)] {
        let mut b = builder(1);
        let a = region(&mut b, "a", RowSet::Tokens, k);
        weight(&mut b, "w", (16, k), int8(group));
        assert!(refusal(b.finish(a)).contains("group size"), "{group}");
    }
    let mut b = builder(1);
    let format = RegionFormat::Activation16 { pieces: GroupSize::Elements(1).pieces(10_000) };
    let a = b.region(RegionSpec::activations("a", RowSet::Tokens, 10_000).in_format(format));
    assert!(refusal(b.finish(a)).contains("10000 pieces"));
}

/// An entry that continues another may run repeatedly for other rows of a step: it must not change the regions that it
/// begins with.
#[test]
fn an_entry_does_not_change_what_it_begins_with() {
    let mut b = builder(4);
    let (a, w) = (region(&mut b, "a", RowSet::Tokens, 64), weight(&mut b, "w", (64, 64), WeightFormat::F32));
    let (table, out) =
        (weight(&mut b, "t", (4, 64), WeightFormat::F32), region(&mut b, "out", RowSet::Tokens, 64));
    b.push(Op::Embed { table, out: a });
    b.push(Op::Embed { table, out });
    b.entry("head", 2..3);
    let mut onto = part(a, w, out);
    onto.accumulate = true;
    b.push(Op::Linear { parts: vec![onto] });
    assert!(refusal(b.finish(out)).contains("head may run again"));
}

#[test]
fn entries_are_ranges_with_different_names() {
    let one = |entries: &[(&'static str, std::ops::Range<usize>)]| {
        let mut b = builder(4);
        let (table, a) =
            (weight(&mut b, "t", (4, 64), WeightFormat::F32), region(&mut b, "a", RowSet::Tokens, 64));
        b.push(Op::Embed { table, out: a });
        entries.iter().for_each(|(name, operations)| b.entry(name, operations.clone()));
        b.finish(a)
    };
    assert!(refusal(one(&[("a", 0..2)])).contains("entry"));
    assert!(refusal(one(&[("a", 0..1), ("a", 0..0)])).contains("twice"));
    let program = one(&[("a", 0..1), ("b", 0..0)]).unwrap();
    assert!(program.entry("b").is_ok() && refusal(program.entry("forward")).contains("forward"));
    assert_eq!(one(&[]).unwrap().entries()[0].operations, 0..1);
}

#[test]
fn nothing_is_read_before_it_is_written() {
    let mut b = builder(4);
    let (a, out, v) = (
        region(&mut b, "a", RowSet::Tokens, 64),
        region(&mut b, "out", RowSet::Tokens, 64),
        vector(&mut b, 64),
    );
    b.push(Op::RmsNorm { input: a, weight: v, eps: 0.0, out });
    assert!(refusal(b.finish(out)).contains("reads a, which nothing has written"));
    let mut b = builder(4);
    let a = region(&mut b, "a", RowSet::Tokens, 64);
    assert!(refusal(b.finish(a)).contains("nothing writes a"));
}

#[test]
fn a_program_takes_token_ids_or_rows() {
    let mut b = builder(4);
    let (table, _) = (weight(&mut b, "t", (4, 64), WeightFormat::F32), input(&mut b, "x", 64));
    let a = region(&mut b, "a", RowSet::Tokens, 64);
    b.push(Op::Embed { table, out: a });
    assert!(refusal(b.finish(a)).contains("rows enter through a region"));
}

#[test]
fn what_needs_a_cache_has_one() {
    let mut b = ProgramBuilder::new(Limits::of_tokens(4));
    let (q, out) = (input(&mut b, "q", 16), region(&mut b, "out", RowSet::Tokens, 16));
    b.push(Op::Attention { q, layer: 0, scale: 1.0, window: None, out });
    assert!(refusal(b.finish(out)).contains("KV cache"));
    let mut b = ProgramBuilder::new(limits(4));
    let a = input(&mut b, "a", 16);
    assert!(refusal(b.finish(a)).contains("without a shape"));
}

#[test]
fn the_output_is_f32() {
    let mut b = builder(1);
    let (a, table) =
        (activations(&mut b, "a", 64, int8(32)), weight(&mut b, "t", (4, 64), WeightFormat::F32));
    b.push(Op::Embed { table, out: a });
    assert!(refusal(b.finish(a)).contains("f32"));
}
