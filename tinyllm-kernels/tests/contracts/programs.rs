//! Programs that the builder refuses.

use std::sync::Arc;

use tinyllm_kernels::{
    GroupSize, InputFormat, KvFormat, KvLayout, Limits, Op, Product, ProgramBuilder, Rows, WeightFormat,
};

use crate::harness::{builder, int8, kv, limits, part, refusal, region, vector, weight};

#[test]
fn parts_of_one_operation_share_their_input() {
    let mut b = builder(32);
    let (w1, w2) = (weight(&mut b, "w1", (16, 64), int8(32)), weight(&mut b, "w2", (16, 64), int8(32)));
    let regions = ["a", "c"].map(|name| region(&mut b, name, Rows::Tokens, 64));
    let outs = ["o1", "o2"].map(|name| region(&mut b, name, Rows::Tokens, 16));
    for region in regions {
        b.push(Op::ConvertInPlace { region, format: int8(32).input_format(64) });
    }
    b.push(Op::Linear { parts: vec![part(regions[0], w1, outs[0]), part(regions[1], w2, outs[1])] });
    assert!(refusal(b.finish(outs[0])).contains("different inputs"));

    let mut b = builder(32);
    let (w1, w2) = (
        weight(&mut b, "w1", (16, 64), WeightFormat::F32),
        weight(&mut b, "w2", (16, 64), WeightFormat::F32),
    );
    let regions = ["a", "c"].map(|name| region(&mut b, name, Rows::Tokens, 64));
    let out = region(&mut b, "out", Rows::Tokens, 16);
    let [gate, up] =
        [(regions[0], w1), (regions[1], w2)].map(|(input, weight)| Product { input, weight, bias: None });
    b.push(Op::GatedLinear { gate, up, out });
    assert!(refusal(b.finish(out)).contains("different inputs"));
}

#[test]
fn parts_of_one_operation_have_the_same_rows() {
    let mut b = builder(15);
    let (w1, w2) =
        (weight(&mut b, "w1", (32, 64), int8(32)), weight(&mut b, "w2", (32, 64), WeightFormat::F32));
    let (tokens, sampled) = (region(&mut b, "a", Rows::Tokens, 64), region(&mut b, "s", Rows::Sampled, 64));
    let (o1, o2) = (region(&mut b, "o1", Rows::Tokens, 32), region(&mut b, "o2", Rows::Sampled, 32));
    b.push(Op::ConvertInPlace { region: tokens, format: int8(32).input_format(64) });
    b.push(Op::Linear { parts: vec![part(tokens, w1, o1), part(sampled, w2, o2)] });
    assert!(refusal(b.finish(o2)).contains("rows"));
}

#[test]
fn nothing_is_written_where_the_same_operation_reads_or_writes() {
    let mut b = builder(4);
    let (a, v) = (region(&mut b, "a", Rows::Tokens, 64), vector(&mut b, 64));
    b.push(Op::RmsNorm { input: a, weight: v, eps: 0.0, out: a });
    assert!(refusal(b.finish(a)).contains("writes a, which it reads"));

    let mut b = builder(4);
    let (a, w) = (region(&mut b, "a", Rows::Tokens, 64), weight(&mut b, "w", (64, 64), WeightFormat::F32));
    b.push(Op::Linear { parts: vec![part(a, w, a)] });
    assert!(refusal(b.finish(a)).contains("writes a, which it reads"));

    // The residual stream is added to, but not from itself.
    for accumulate in [false, true] {
        let mut b = builder(4);
        let (a, w) =
            (region(&mut b, "a", Rows::Tokens, 64), weight(&mut b, "w", (64, 64), WeightFormat::F32));
        let out = region(&mut b, "out", Rows::Tokens, 64);
        let mut twice = part(a, w, out);
        twice.accumulate = accumulate;
        b.push(Op::Linear { parts: vec![twice, twice] });
        assert!(refusal(b.finish(out)).contains("writes out twice"));
    }
    let mut b = builder(4);
    let (a, w) = (region(&mut b, "a", Rows::Tokens, 64), weight(&mut b, "w", (64, 64), WeightFormat::F32));
    let mut onto_itself = part(a, w, a);
    onto_itself.accumulate = true;
    b.push(Op::Linear { parts: vec![onto_itself] });
    assert!(refusal(b.finish(a)).contains("writes a, which it reads"));

    let mut b = builder(4);
    let q = region(&mut b, "q", Rows::Tokens, 16);
    b.push(Op::Attention { q, layer: 0, scale: 1.0, window: None, out: q });
    assert!(refusal(b.finish(q)).contains("writes q, which it reads"));

    // Queries that are keys, or values, or the table.
    for same in 1..4 {
        let mut b = builder(4);
        let mut regions = ["q", "k", "v", "table"].map(|name| region(&mut b, name, Rows::Tokens, 16));
        regions[same] = regions[0];
        let [q, k, v, table] = regions;
        b.push(Op::RotateAndStore { q, k, v, table, qk_norm: None, eps: 0.0, layer: 0 });
        assert!(refusal(b.finish(q)).contains("writes q"), "{same}");
    }
}

#[test]
fn heads_divide() {
    for query_heads in [1, 3] {
        let kv = KvLayout::new(1, 2, 16, 16, KvFormat::F32).unwrap();
        let mut b = ProgramBuilder::new(limits(4), query_heads, kv);
        let q = region(&mut b, "q", Rows::Tokens, query_heads * 16);
        let out = region(&mut b, "out", Rows::Tokens, query_heads * 16);
        b.push(Op::Attention { q, layer: 0, scale: 1.0, window: None, out });
        assert!(refusal(b.finish(out)).contains("query heads"));
    }
    let mut b = ProgramBuilder::new(limits(4), 0, kv());
    let (q, out) = (region(&mut b, "q", Rows::Tokens, 0), region(&mut b, "out", Rows::Tokens, 0));
    b.push(Op::Attention { q, layer: 0, scale: 1.0, window: None, out });
    assert!(refusal(b.finish(out)).contains("no query heads"));
}

/// Operations that go by the step's tokens have a row for each of them.
#[test]
fn rows_are_those_of_tokens() {
    let sampled = |b: &mut ProgramBuilder, name: &str| region(b, name, Rows::Sampled, 16);
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
            region(&mut b, name, if index == few { Rows::Sampled } else { Rows::Tokens }, 16)
        });
        b.push(Op::RotateAndStore { q, k, v, table, qk_norm: None, eps: 0.0, layer: 0 });
        assert!(refusal(b.finish(q)).contains("rows"), "{few}");
    }
}

#[test]
fn ids_are_of_this_builder() {
    let mut other = builder(4);
    let foreign = region(&mut other, "r", Rows::Tokens, 16);
    let (foreign_weight, foreign_vector) =
        (weight(&mut other, "w", (16, 16), WeightFormat::F32), vector(&mut other, 16));
    let own = || {
        let mut b = builder(4);
        let (a, c) = (region(&mut b, "a", Rows::Tokens, 16), region(&mut b, "c", Rows::Tokens, 16));
        let (w, v) = (weight(&mut b, "w", (16, 16), WeightFormat::F32), vector(&mut b, 16));
        (b, a, c, w, v)
    };
    let (b, ..) = own();
    assert!(refusal(b.finish(foreign)).contains("logits"));
    let (mut b, a, c, w, v) = own();
    let mut part_with_bias = part(a, w, c);
    part_with_bias.product.bias = Some(foreign_vector);
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
fn sizes_are_those_of_a_memory() {
    let too_large = |limits: Limits, columns: usize| {
        let mut b = ProgramBuilder::new(limits, 1, kv());
        let a = region(&mut b, "a", Rows::Tokens, columns);
        assert!(refusal(b.finish(a)).contains("more than any memory holds"));
    };
    let with =
        |max_tokens, max_sampled_rows, max_sequences| Limits { max_tokens, max_sampled_rows, max_sequences };
    too_large(with(1 << 57, 1, 1), 1024);
    too_large(with(1, usize::MAX, 1), 1);
    too_large(with(1, 1, usize::MAX), 1);
    too_large(with(1 << 30, 1, 1), 1 << 30);
    too_large(with(1, 1, 1), usize::MAX);
    for shape in [(1 << 40, 1 << 40), (usize::MAX, 1), (1, usize::MAX - 15), (1 << 28, 1 << 28)] {
        let mut b = builder(1);
        let a = region(&mut b, "a", Rows::Tokens, 1);
        weight(&mut b, "w", shape, int8(32));
        assert!(refusal(b.finish(a)).contains("w: "), "{shape:?}");
    }
    let mut b = builder(1);
    let a = region(&mut b, "a", Rows::Tokens, 1);
    vector(&mut b, usize::MAX);
    assert!(refusal(b.finish(a)).contains("vector"));
    for query_heads in [usize::MAX, 1 << 40] {
        let mut b = ProgramBuilder::new(limits(1), query_heads, kv());
        let a = region(&mut b, "a", Rows::Tokens, 1);
        assert!(refusal(b.finish(a)).contains("query heads"));
    }
    for (layers, heads, head_dim, block) in
        [(1 << 40, 1 << 40, 1, 16), (1, 1, usize::MAX / 8, 16), (1, 1, 1, 1 << 60)]
    {
        assert!(refusal(KvLayout::new(layers, heads, head_dim, block, KvFormat::F16)).contains("memory"));
    }
}

/// int8 groups that pieces cannot follow, and formats of a row that no layout has.
#[test]
fn pieces_are_few_and_begin_at_even_columns() {
    for (group, k) in [(1, 64), (601, 1202), (2, 10_000)] {
        let mut b = builder(1);
        let a = region(&mut b, "a", Rows::Tokens, k);
        weight(&mut b, "w", (16, k), int8(group));
        assert!(refusal(b.finish(a)).contains("group size"), "{group}");
    }
    let mut b = builder(1);
    let (a, out) = (region(&mut b, "a", Rows::Tokens, 10_000), region(&mut b, "out", Rows::Tokens, 1));
    let format = InputFormat::Int16 { pieces: GroupSize::Elements(1).pieces(10_000) };
    b.push(Op::ConvertInPlace { region: a, format });
    assert!(refusal(b.finish(out)).contains("10000 pieces"));
}

/// The head runs again for other rows of a step: what it begins with must still be there.
#[test]
fn the_head_keeps_what_it_begins_with() {
    let mut b = builder(4);
    let (a, w) = (region(&mut b, "a", Rows::Tokens, 64), weight(&mut b, "w", (64, 64), WeightFormat::F32));
    let (table, out) =
        (weight(&mut b, "t", (4, 64), WeightFormat::F32), region(&mut b, "out", Rows::Tokens, 64));
    b.push(Op::Embed { table, out: a });
    b.push(Op::Embed { table, out });
    b.begin_head();
    let mut onto = part(a, w, out);
    onto.accumulate = true;
    b.push(Op::Linear { parts: vec![onto] });
    assert!(refusal(b.finish(out)).contains("the head runs again"));
}

#[test]
fn logits_are_f32() {
    let mut b = builder(1);
    let (a, table) = (region(&mut b, "a", Rows::Tokens, 64), weight(&mut b, "t", (4, 64), WeightFormat::F32));
    b.push(Op::Embed { table, out: a });
    b.push(Op::ConvertInPlace { region: a, format: int8(32).input_format(64) });
    assert!(refusal(b.finish(a)).contains("f32"));
}
