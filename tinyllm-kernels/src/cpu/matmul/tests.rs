//! Every kernel against the reference loops, and against values computed in rational arithmetic, bit for bit.

use proptest::prelude::*;

use super::{reference, *};
use crate::{
    FetchedRows, FloatRows, GroupSize, Pieces, ScaleType,
    cpu::{lanes::Portable, vector::VectorView},
};

fn isas() -> impl Iterator<Item = Isa> {
    Isa::ALL.into_iter().filter(|isa| isa.is_available())
}

/// Input rows in the matmul's layout.
fn rows(isa: Isa, x: &[f32], k: usize, pieces: Pieces) -> (Vec<u32>, usize) {
    let stride = ActivationLayout { k, pieces }.row_bytes();
    let mut data = vec![0u32; x.len() / k * stride / 4];
    for (row, x) in x.chunks(k).enumerate() {
        // SAFETY: `data` has a whole row of the layout at this offset, 4-byte aligned; the processor has `isa`.
        let finite = unsafe { round_row(isa, x, pieces, data.as_mut_ptr().cast::<u8>().add(row * stride)) };
        assert!(finite);
    }
    (data, stride)
}

/// The outputs' bits. Adding them to −0 gives the same bits, unless one is computed twice.
fn outputs(isa: Isa, weight: &WeightView<'_>, n: usize, input: InputView) -> Vec<u32> {
    let run = |store, before: f32| -> Vec<u32> {
        let mut y = vec![before; input.rows * n];
        let output = Output { data: y.as_mut_ptr(), stride_elems: n, n, bias: None, store };
        // SAFETY: the tests build views, inputs and outputs of matching sizes.
        unsafe { matmul(isa, weight, 0..n.div_ceil(PANEL), input, &output, &mut Quantized::default()) }
            .unwrap();
        y.into_iter().map(f32::to_bits).collect()
    };
    let y = run(Store::Replace, f32::NAN);
    assert_eq!(run(Store::Add, -0.0), y, "computed twice");
    y
}

fn layout(k: usize, group_size: GroupSize) -> PanelLayout {
    PanelLayout { k, group_size, scale_type: ScaleType::F16 }
}

/// int8 weights as panels and as row-major rows.
struct Weights {
    /// Panels in two extents, with padding around them.
    slab: Vec<u8>,
    extents: Vec<Extent>,
    row_major: Vec<u8>,
    row_major_scales: Vec<u8>,
    n: usize,
    k: usize,
    group_size: GroupSize,
}

impl Weights {
    fn new(q: &[i8], scales: &[f32], n: usize, k: usize, group_size: GroupSize) -> Self {
        let groups = group_size.groups(k);
        let halves: Vec<u8> = scales.iter().flat_map(|s| f16::from_f32(*s).to_le_bytes()).collect();
        let bytes: Vec<u8> = q.iter().map(|q| *q as u8).collect();
        let (panels, panel_bytes) = (n.div_ceil(PANEL), layout(k, group_size).bytes());
        let (mut slab, mut extents) = (vec![1u8; 32], Vec::new());
        for extent in [0..panels / 3, panels / 3..panels] {
            let start = slab.len();
            for panel in extent.clone() {
                let lanes = panel * PANEL..((panel + 1) * PANEL).min(n);
                let rows = QuantizedMatrix {
                    n: lanes.len(),
                    k,
                    group_size,
                    scale_type: ScaleType::F16,
                    offset_binary: false,
                    row_bytes: k,
                    values: &bytes[lanes.start * k..lanes.end * k],
                    scales: &halves[lanes.start * groups * 2..lanes.end * groups * 2],
                };
                let at = slab.len();
                slab.resize(at + panel_bytes, 1);
                // SAFETY: every processor has the portable lanes.
                unsafe { pack_rows::<Portable>(&rows, &mut slab[at..]) };
            }
            if !extent.is_empty() {
                extents.push(Extent { first_panel: extent.start, bytes: start..slab.len() });
            }
            slab.resize(slab.len() + 96, 1);
        }
        let row_major = bytes.iter().map(|byte| byte ^ 0x80).collect();
        Weights { slab, extents, row_major, row_major_scales: halves, n, k, group_size }
    }

    fn panels(&self) -> Panels<'_> {
        let Weights { slab, extents, n, k, group_size, .. } = self;
        Panels { slab, extents, layout: layout(*k, *group_size), n: *n }
    }

    fn views(&self) -> [WeightView<'_>; 2] {
        let Weights { n, k, group_size, .. } = *self;
        let scale_type = ScaleType::F16;
        [
            WeightView::Panels(self.panels()),
            WeightView::RowMajor(RowMajor {
                values: self.row_major.as_slice().into(),
                row_bytes: k,
                offset_binary: true,
                scales: self.row_major_scales.as_slice().into(),
                scale_type,
                n,
                k,
                group_size,
            }),
        ]
    }
}

fn floats(len: usize) -> impl Strategy<Value = Vec<f32>> {
    let value = prop_oneof![8 => -4.0f32..4.0, 1 => Just(0.0f32), 1 => -1e4f32..1e4];
    prop::collection::vec(value, len)
}

/// Group sizes; 0 is the whole row. Those above 512 are cut into pieces, some of them shorter.
const GROUPS: &[usize] = &[0, 2, 6, 30, 32, 64, 128, 256, 510, 514, 600, 768, 1024];

prop_compose! {
    fn problems()(n in 1usize..70, k in prop_oneof![3 => 1usize..700, 1 => 700usize..1700], rows in 1usize..30, group in prop::sample::select(GROUPS))
        (x in floats(rows * k), q in prop::collection::vec(prop_oneof![4 => any::<i8>(), 1 => Just(-128i8), 1 => Just(0)], n * k),
         scales in prop::collection::vec(0.0f32..0.1, n * if group == 0 { 1 } else { k.div_ceil(group) }),
         n in Just(n), k in Just(k), group in Just(group)) -> (usize, usize, usize, Vec<f32>, Vec<i8>, Vec<f32>) {
        (n, k, group, x, q, scales)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_kernel_equals_the_reference((n, k, group, x, q, scales) in problems()) {
        let group_size = if group == 0 { GroupSize::Channel } else { GroupSize::Elements(group) };
        let group = group_size.elements(k);
        let scales: Vec<f32> = scales.iter().take(n * k.div_ceil(group)).map(|s| f16::from_f32(*s).to_f32()).collect();
        let weights = Weights::new(&q, &scales, n, k, group_size);
        let expected: Vec<u32> = x
            .chunks(k)
            .flat_map(|x| {
                let (xi, sx) = reference::quantize_input(x, group);
                reference::matmul(&q, &scales, k, group, &xi, &sx)
            })
            .map(f32::to_bits)
            .collect();
        for isa in isas() {
            let (data, stride) = rows(isa, &x, k, group_size.pieces(k));
            let input = InputView { data: data.as_ptr().cast(), row_stride_bytes: stride, rows: x.len() / k, k };
            for view in weights.views() {
                prop_assert!(outputs(isa, &view, n, input) == expected, "{isa} {n}x{k} group {group}");
            }
        }
        let mut row = vec![0.0; k];
        for view in weights.views() {
            unpack_row(&view, n - 1, &mut row).unwrap();
            for (column, value) in row.iter().enumerate() {
                prop_assert_eq!(*value, f32::from(q[(n - 1) * k + column]) * scales[(n - 1) * k.div_ceil(group) + column / group]);
            }
        }
    }

    #[test]
    fn streamed_matrices_equal_separate_matmuls(
        (n, k, group, x, q, scales) in problems(), cuts in (0usize..5, 0usize..5), chunk in 1usize..4
    ) {
        let group_size = if group == 0 { GroupSize::Channel } else { GroupSize::Elements(group) };
        let (groups, rows_of) = (group_size.groups(k), |part: usize| [n.min(1 + cuts.0 * 16), n.min(3 + cuts.1 * 7), n][part]);
        // Three matrices: the first rows of one.
        let all: Vec<Weights> = (0..3)
            .map(|part| Weights::new(&q[..rows_of(part) * k], &scales[..rows_of(part) * groups], rows_of(part), k, group_size))
            .collect();
        let bias: Vec<f32> = (0..n).map(|column| column as f32 / 8.0 - 1.0).collect();
        for isa in isas() {
            let (data, stride) = rows(isa, &x, k, group_size.pieces(k));
            let input = InputView { data: data.as_ptr().cast(), row_stride_bytes: stride, rows: x.len() / k, k };
            let output = |y: &mut [f32], weights: &Weights, store| Output {
                data: y.as_mut_ptr(), stride_elems: n, n: weights.n, bias: Some(VectorView::F32(&bias[..weights.n])), store,
            };
            let alone = |y: &mut [f32], weights: &Weights, store| {
                let output = output(y, weights, store);
                // SAFETY: views, inputs and outputs of matching sizes.
                let panels = 0..weights.n.div_ceil(PANEL);
                // SAFETY: as above.
                unsafe { matmul(isa, &weights.views()[0], panels, input, &output, &mut Quantized::default()) }.unwrap();
            };
            let together = |matrices: Matrices<'_>| {
                for range in [0..matrices.panels() / 3, matrices.panels() / 3..matrices.panels()] {
                    let streams = matrices.streams(range, input.rows);
                    for column in (0..streams.columns()).step_by(chunk) {
                        let columns = column..(column + chunk).min(streams.columns());
                        // SAFETY: as above.
                        unsafe { multiply(isa, &matrices, streams, columns, input) };
                    }
                }
            };
            let bits = |y: &[f32]| y.iter().map(|y| y.to_bits()).collect::<Vec<u32>>();
            let mut expected = vec![vec![0.5; input.rows * n]; 3];
            let mut found = expected.clone();
            for (y, weights) in expected.iter_mut().zip(&all) {
                alone(y, weights, Store::Add);
            }
            let parts = found.iter_mut().zip(&all).map(|(y, w)| Some(Part { weight: w.panels(), output: output(y, w, Store::Add) }));
            together(Matrices::parts(parts).unwrap());
            for (found, expected) in found.iter().zip(&expected) {
                prop_assert_eq!(bits(found), bits(expected), "{}", isa);
            }
            let (mut expected, mut found) = (vec![0.0; input.rows * n], vec![0.0; input.rows * n]);
            let (gate, up) = (&all[2], Weights::new(&q.iter().rev().copied().collect::<Vec<i8>>(), &scales[..n * groups], n, k, group_size));
            alone(&mut expected, gate, Store::Replace);
            alone(&mut expected, &up, Store::Gate);
            let gate = Part { weight: gate.panels(), output: output(&mut found, gate, Store::Replace) };
            let up = Part { weight: up.panels(), output: output(&mut found, &up, Store::Gate) };
            together(Matrices::gated(gate, up).unwrap());
            prop_assert_eq!(bits(&found), bits(&expected), "{} gated", isa);
        }
    }

    #[test]
    fn rounding_in_place_equals_the_reference(k in 1usize..1300, group in prop::sample::select(GROUPS), seed in floats(1300)) {
        let x = &seed[..k];
        let group_size = if group == 0 { GroupSize::Channel } else { GroupSize::Elements(group) };
        let (group, pieces) = (group_size.elements(k), group_size.pieces(k));
        let (xi, sx) = reference::quantize_input(x, group);
        let layout = ActivationLayout { k, pieces };
        for isa in isas() {
            let mut row = vec![0.0; k.max(layout.row_bytes() / 4)];
            row[..k].copy_from_slice(x);
            // SAFETY: the row is long enough for k f32 and for the layout's row; the processor has `isa`.
            let finite = unsafe { round_row_in_place(isa, row.as_mut_ptr().cast(), k, pieces) };
            prop_assert!(finite);
            let bytes: &[u8] = bytemuck::cast_slice(&row);
            let found: Vec<i16> = bytes[..2 * k].chunks(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
            prop_assert!(found == xi, "{}", isa);
            let offset = layout.scales_offset();
            let found: Vec<f32> =
                bytes[offset..offset + 4 * sx.len()].chunks(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
            prop_assert!(found == sx, "{}", isa);
        }
    }

    #[test]
    fn float_weights_follow_one_chain(n in 1usize..40, k in 1usize..90, rows in 1usize..7, seed in floats(40 * 90 + 7 * 90)) {
        let (w, x) = (&seed[..n * k], &seed[40 * 90..][..rows * k]);
        let mut f32_panels = vec![0.0f32; n.div_ceil(PANEL) * PANEL * k];
        for (index, value) in w.iter().enumerate() {
            let (row, column) = (index / k, index % k);
            f32_panels[(row / PANEL * k + column) * PANEL + row % PANEL] = *value;
        }
        let f16_panels: Vec<f16> = f32_panels.iter().map(|value| f16::from_f32(*value)).collect();
        let chain = |round: fn(f32) -> f32| -> Vec<u32> {
            x.chunks(k)
                .flat_map(|x| w.chunks(k).map(move |w| w.iter().zip(x).fold(0.0f32, |acc, (w, x)| round(*w).mul_add(*x, acc)).to_bits()))
                .collect()
        };
        let input = InputView { data: x.as_ptr().cast(), row_stride_bytes: 4 * k, rows, k };
        for isa in isas() {
            let view = WeightView::F32(FloatPanels { values: &f32_panels, n, k });
            prop_assert!(outputs(isa, &view, n, input) == chain(|w| w), "{isa} f32");
            let view = WeightView::F16(FloatPanels { values: &f16_panels, n, k });
            prop_assert!(outputs(isa, &view, n, input) == chain(|w| f16::from_f32(w).to_f32()), "{isa} f16");
        }
    }
}

/// Rows of f16 at their source.
struct Halves(Vec<u8>, usize);

impl FloatRows for Halves {
    fn shape(&self) -> (usize, usize) {
        (self.0.len() / 2 / self.1, self.1)
    }

    fn read(&self, rows: Range<usize>, out: &mut [f32]) -> Result<(), KernelError> {
        let bytes = &self.0[2 * rows.start * self.1..2 * rows.end * self.1];
        for (out, half) in out.iter_mut().zip(bytes.chunks(2)) {
            *out = f16::from_le_bytes([half[0], half[1]]).to_f32();
        }
        Ok(())
    }

    fn fetch(&self, rows: Range<usize>, fetched: &mut FetchedRows) -> Result<(), KernelError> {
        let bytes = 2 * rows.start * self.1..2 * rows.end * self.1;
        fetched.replace(rows, 2 * self.1).copy_from_slice(&self.0[bytes]);
        Ok(())
    }

    fn halves<'a>(&self, row: usize, fetched: &'a FetchedRows) -> Option<&'a [u8]> {
        fetched.row(row)
    }
}

/// More panels than are quantised at a time, the last one partial, and a k that is no multiple of 16.
#[test]
fn rows_quantised_while_read_equal_rows_quantised_before() {
    let (n, k, group) = (16 * 37 + 5, 75, 32);
    let values: Vec<f16> =
        (0..n * k).map(|i| f16::from_f32(((i * 97 + i / k * 31) % 509) as f32 / 64.0 - 4.0)).collect();
    let halves = Halves(values.iter().flat_map(|value| value.to_le_bytes()).collect(), k);
    let whole: Vec<f32> = values.iter().map(|value| value.to_f32()).collect();
    let (mut q, mut scales) = (vec![0; n * k], vec![f16::ZERO; n * k.div_ceil(group)]);
    for (row, values) in whole.chunks(k).enumerate() {
        let (q, scales) =
            (&mut q[row * k..][..k], &mut scales[row * k.div_ceil(group)..][..k.div_ceil(group)]);
        crate::quantize::quantize_row("w", row, values, group, q, scales).unwrap();
    }
    let scales: Vec<f32> = scales.into_iter().map(f16::to_f32).collect();
    let group_size = GroupSize::Elements(group);
    let weights = Weights::new(&q, &scales, n, k, group_size);
    let x: Vec<f32> = (0..17 * k).map(|i| (i * 37 % 201) as f32 / 16.0 - 6.0).collect();
    let borrowed = (whole.as_slice(), k);
    let sources: [&dyn FloatRows; 2] = [&halves, &borrowed];
    for isa in isas() {
        for rows_count in [1, 17] {
            let (data, stride) = rows(isa, &x[..rows_count * k], k, group_size.pieces(k));
            let input =
                InputView { data: data.as_ptr().cast(), row_stride_bytes: stride, rows: rows_count, k };
            let expected = outputs(isa, &weights.views()[0], n, input);
            for rows in sources {
                let view = WeightView::Floats(Floats { rows, name: "w", n, k, group_size });
                assert!(outputs(isa, &view, n, input) == expected, "{isa}, {rows_count} rows");
            }
        }
    }
    let (mut expected, mut found) = (vec![0.0; k], vec![0.0; k]);
    for row in [0, 300, n - 1] {
        unpack_row(&weights.views()[0], row, &mut expected).unwrap();
        for rows in sources {
            let view = WeightView::Floats(Floats { rows, name: "w", n, k, group_size });
            unpack_row(&view, row, &mut found).unwrap();
            assert_eq!(found, expected);
        }
    }
}

/// The bias of a column is used in every block of quantised panels; a NaN weight is reported with its name.
#[test]
fn rows_quantised_while_read_add_the_bias_and_name_a_bad_weight() {
    let (n, k) = (16 * 20, 32);
    let group_size = GroupSize::Channel;
    let mut values = vec![1.0f32; n * k];
    let bias: Vec<f32> = (0..n).map(|column| column as f32).collect();
    let (data, stride) = rows(Isa::Portable, &[1.0; 32], k, GroupSize::Channel.pieces(k));
    let input = InputView { data: data.as_ptr().cast(), row_stride_bytes: stride, rows: 1, k };
    let run = |values: &[f32]| {
        let mut y = vec![0.0; n];
        let output = Output {
            data: y.as_mut_ptr(),
            stride_elems: n,
            n,
            bias: Some(VectorView::F32(&bias)),
            store: Store::Replace,
        };
        let rows = (values, k);
        let view = WeightView::Floats(Floats { rows: &rows, name: "table", n, k, group_size });
        // SAFETY: views, inputs and outputs of matching sizes.
        unsafe { matmul(Isa::Portable, &view, 0..n / PANEL, input, &output, &mut Quantized::default()) }
            .map(|()| y)
    };
    // 32 times 1 · 1, up to the rounding of f16 scales.
    for (column, y) in run(&values).unwrap().into_iter().enumerate() {
        assert!((y - column as f32 - 32.0).abs() < 0.02, "{column}: {y}");
    }
    values[300 * k + 7] = f32::NAN;
    let error = run(&values).unwrap_err();
    assert!(matches!(error, KernelError::NonFiniteWeight { row: 300, column: 7, .. }), "{error}");
    assert!(error.to_string().contains("table"), "{error}");
}

/// More rows than share a pass over the weights, no multiple of any tile.
#[test]
fn many_rows_equal_the_reference() {
    let (n, k, rows_count, group) = (35, 150, 205, 64);
    let x: Vec<f32> = (0..rows_count * k).map(|i| ((i * 37 + i / k) % 201) as f32 / 16.0 - 6.0).collect();
    let q: Vec<i8> = (0..n * k).map(|i| (i * 29 % 256) as u8 as i8).collect();
    let scales: Vec<f32> = (0..n * 3).map(|i| f16::from_f32(0.01 + i as f32 / 512.0).to_f32()).collect();
    let weights = Weights::new(&q, &scales, n, k, GroupSize::Elements(group));
    let expected: Vec<u32> = x
        .chunks(k)
        .flat_map(|x| {
            let (xi, sx) = reference::quantize_input(x, group);
            reference::matmul(&q, &scales, k, group, &xi, &sx)
        })
        .map(f32::to_bits)
        .collect();
    for isa in isas() {
        let (data, stride) = rows(isa, &x, k, GroupSize::Elements(group).pieces(k));
        let input = InputView { data: data.as_ptr().cast(), row_stride_bytes: stride, rows: rows_count, k };
        for view in weights.views() {
            assert_eq!(outputs(isa, &view, n, input), expected, "{isa}");
        }
    }
}

#[test]
fn infinities_and_nan_are_detected() {
    for isa in isas() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = [1.0f32; 40];
            x[37] = bad;
            let (mut row, pieces) = ([0u32; 30], GroupSize::Elements(32).pieces(40));
            // SAFETY: 2·40 bytes of xi and two scales fit.
            let finite = unsafe { round_row(isa, &x, pieces, row.as_mut_ptr().cast()) };
            assert!(!finite, "{isa} {bad}");
        }
    }
}

/// Groups longer than a piece, and no multiple of one: each input is multiplied with its own group's scale. Reference:
/// sums of dequantised weights in f64; an int16 input has an error of half a step at most.
#[test]
fn long_groups_keep_their_scales() {
    for (k, group) in [(1536, 768), (1200, 600), (1300, 600), (1030, 514), (3000, 1000), (2048, 1024)] {
        let groups = k / group + usize::from(k % group > 0);
        let (n, rows_count) = (17, 18);
        let x: Vec<f32> = (0..rows_count * k).map(|i| ((i * 37 + i / k) % 201) as f32 / 16.0 - 6.0).collect();
        let q: Vec<i8> = (0..n * k).map(|i| (i * 29 % 255) as u8 as i8).collect();
        let scales: Vec<f32> = (0..n * groups).map(|i| ((i % 7 + 1) as f32) / 256.0).collect();
        let weights = Weights::new(&q, &scales, n, k, GroupSize::Elements(group));
        for isa in isas() {
            let (data, stride) = rows(isa, &x, k, GroupSize::Elements(group).pieces(k));
            for count in [1, rows_count] {
                let input =
                    InputView { data: data.as_ptr().cast(), row_stride_bytes: stride, rows: count, k };
                for view in weights.views() {
                    for (index, y) in outputs(isa, &view, n, input).into_iter().enumerate() {
                        let (row, output) = (index / n, index % n);
                        let weight = |column: usize| {
                            let scale = scales[output * groups + column / group];
                            f64::from(q[output * k + column]) * f64::from(scale)
                        };
                        let exact: f64 = (0..k).map(|i| weight(i) * f64::from(x[row * k + i])).sum();
                        let step = 6.5 / 32767.0;
                        let bound: f64 =
                            (0..k).map(|i| weight(i).abs() * step).sum::<f64>() + exact.abs() * 1e-6;
                        let y = f64::from(f32::from_bits(y));
                        assert!((y - exact).abs() <= bound, "{isa} {k} {group} {count}: {y} for {exact}");
                    }
                }
            }
        }
    }
}

/// A tensor of the reference file, as little-endian elements of `N` bytes.
fn tensor<const N: usize>(file: &safetensors::SafeTensors<'_>, name: &str) -> (Vec<usize>, Vec<[u8; N]>) {
    let view = file.tensor(name).unwrap();
    (view.shape().to_vec(), view.data().chunks(N).map(|bytes| bytes.try_into().unwrap()).collect())
}

#[test]
fn matmuls_equal_rational_arithmetic() {
    let folder = std::env::var_os("TINYLLM_ORACLE_DIR").map_or_else(
        || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/oracle"),
        std::path::PathBuf::from,
    );
    let path = folder.join("w8a16/int16_products.safetensors");
    let Ok(bytes) = std::fs::read(&path) else {
        eprintln!("skipped: {} is absent", path.display());
        return;
    };
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let cases: Vec<String> =
        file.names().iter().filter_map(|name| name.strip_suffix(".y_bits").map(String::from)).collect();
    assert!(cases.len() >= 7, "{cases:?}");
    for case in cases {
        let group_size = match case.rsplit_once('.').unwrap().1 {
            "channel" => GroupSize::Channel,
            group => GroupSize::Elements(group[1..].parse().unwrap()),
        };
        let name = |part: &str| format!("{case}.{part}");
        let (shape, q) = tensor::<1>(&file, &name("qweight"));
        let (n, k) = (shape[0], shape[1]);
        let q: Vec<i8> = q.into_iter().map(i8::from_le_bytes).collect();
        let f32s =
            |part| tensor::<4>(&file, &name(part)).1.into_iter().map(f32::from_le_bytes).collect::<Vec<_>>();
        let (x, sx, scales) = (f32s("x"), f32s("sx"), f32s("scales"));
        let xi: Vec<i16> = tensor::<2>(&file, &name("xi")).1.into_iter().map(i16::from_le_bytes).collect();
        let y: Vec<u32> = tensor::<4>(&file, &name("y_bits")).1.into_iter().map(u32::from_le_bytes).collect();
        let weights = Weights::new(&q, &scales, n, k, group_size);
        let pieces = group_size.pieces(k);
        for isa in isas() {
            let (data, stride) = rows(isa, &x, k, pieces);
            let bytes: &[u8] = bytemuck::cast_slice(&data);
            let offset = ActivationLayout { k, pieces }.scales_offset();
            for (row, bytes) in bytes.chunks(stride).enumerate() {
                let found: Vec<i16> =
                    bytes[..2 * k].chunks(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
                assert_eq!(found, xi[row * k..][..k], "{case} {isa} xi");
                let count = pieces.count(k);
                let found: Vec<f32> = bytes[offset..][..4 * count]
                    .chunks(4)
                    .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
                    .collect();
                assert_eq!(found, sx[row * count..][..count], "{case} {isa} sx");
            }
            let input =
                InputView { data: data.as_ptr().cast(), row_stride_bytes: stride, rows: x.len() / k, k };
            for view in weights.views() {
                assert_eq!(outputs(isa, &view, n, input), y, "{case} {isa} y");
            }
        }
    }
}
