//! Filling a weight's panels from a source: quantised, rounded or only repacked, by all threads at once.

use std::{ops::Range, sync::Mutex};

use half::{f16, slice::HalfFloatSliceExt};

use super::{
    finite::{check_finite, to_f16},
    lanes::{Kernel, Lanes, dispatch},
    layout::{PANEL, PanelLayout, WeightBytes},
    products::{self, Floats, Quantized, Rows, fetched_rows},
    team::Team,
};
use crate::{
    FetchedRows, FloatRows, GroupSize, Isa, KernelError, QuantizedLayout, QuantizedRows, ScaleType,
    WeightFormat, WeightSource, WeightSpec, quantize::VanishedGroups,
};

/// What a thread takes at a time of a large weight: the buffers cost little beside it.
const PIECE_BYTES: usize = 1 << 20;

/// Pieces a thread at least, so that threads end together on small weights too.
const PIECES_A_THREAD: usize = 4;

/// Fills panels of a weight: stretches of them, each with the number of its first. Which groups have vanished.
///
/// # Errors
/// Of the first rows at fault, whichever thread met them.
pub(super) fn fill(
    team: &Team,
    isa: Isa,
    spec: &WeightSpec,
    stretches: Vec<(usize, &mut [u8])>,
    source: WeightSource<'_>,
) -> Result<Option<VanishedGroups>, KernelError> {
    let source = Source::new(spec, source)?;
    if stretches.is_empty() {
        return Ok(None);
    }
    let panel_bytes = WeightBytes::of(spec).panel(spec);
    let panels = stretches.iter().map(|(_, stretch)| stretch.len()).sum::<usize>() / panel_bytes;
    let rows = |first: usize, bytes: usize| {
        let panels = first..first + bytes / panel_bytes;
        panels.start * PANEL..(panels.end * PANEL).min(spec.n)
    };
    let piece = panels.div_ceil(PIECES_A_THREAD * team.members()).min(PIECE_BYTES / panel_bytes).max(1);
    let pieces: Vec<Mutex<Piece<'_>>> = stretches
        .into_iter()
        .flat_map(|(first, stretch)| {
            let pieces = stretch.chunks_mut(piece * panel_bytes).enumerate();
            pieces.map(move |(index, bytes)| {
                Mutex::new(Piece { rows: rows(first + index * piece, bytes.len()), panel_bytes, bytes })
            })
        })
        .collect();
    let failure: Mutex<Option<(usize, KernelError)>> = Mutex::new(None);
    // One for each thread, whichever pieces it takes.
    let idle: Mutex<Vec<Buffers>> = Mutex::new(Vec::new());
    team.for_each(pieces.len(), |index| {
        // Each piece is taken once; a poisoned lock means the run is unwinding anyway.
        let Ok(mut piece) = pieces[index].lock() else { return };
        let mut buffers = idle.lock().ok().and_then(|mut idle| idle.pop()).unwrap_or_default();
        // SAFETY: `Cpu::new` saw to it that the processor has `isa`.
        let result = unsafe {
            dispatch(isa, Fill { piece: &mut piece, spec, source: &source, buffers: &mut buffers })
        };
        if let Ok(mut idle) = idle.lock() {
            idle.push(buffers);
        }
        if let (Err(error), Ok(mut first)) = (result, failure.lock())
            && first.as_ref().is_none_or(|(earlier, _)| index < *earlier)
        {
            *first = Some((index, error));
        }
    });
    if let Ok(Some((_, error))) = failure.into_inner() {
        return Err(error);
    }
    let counted = idle.into_inner().unwrap_or_default();
    let vanished = counted.iter().filter_map(|buffers| buffers.quantized.vanished);
    let vanished = vanished.reduce(|(count, row), (more, other)| (count + more, row.min(other)));
    Ok(vanished.map(|(count, row)| VanishedGroups { weight: spec.name.clone(), count, row }))
}

/// Where rows come from, checked against the weight.
enum Source<'a> {
    Float(&'a dyn FloatRows),
    Quantized { rows: &'a dyn QuantizedRows, group_size: GroupSize, scales: ScaleType },
}

impl<'a> Source<'a> {
    fn new(spec: &WeightSpec, source: WeightSource<'a>) -> Result<Self, KernelError> {
        let problem = match (source, spec.format) {
            (WeightSource::Float(_), WeightFormat::W8A16 { scales, .. }) if scales != ScaleType::F16 => {
                format!(
                    "floats are quantised with scales of f16, where the weight's are {scales:?}; give int8 rows"
                )
            }
            (WeightSource::Float(rows), _) => return Ok(Source::Float(rows)),
            (WeightSource::Quantized(rows), WeightFormat::W8A16 { group_size, scales }) => {
                return Ok(Source::Quantized { rows, group_size, scales });
            }
            (WeightSource::Quantized(_), WeightFormat::F16 | WeightFormat::F32) => {
                "int8 rows cannot fill a floating-point weight".into()
            }
            (WeightSource::Mapped(_) | WeightSource::Shared(_), _) => {
                "kept rows are read as what they are, quantised or floats".into()
            }
        };
        Err(KernelError::Source { name: spec.name.clone(), problem })
    }
}

/// Some panels of a weight, side by side.
struct Piece<'a> {
    rows: Range<usize>,
    panel_bytes: usize,
    bytes: &'a mut [u8],
}

/// One piece's work, compiled for each instruction set: the compiler vectorises it.
struct Fill<'a, 'b> {
    piece: &'a mut Piece<'b>,
    spec: &'a WeightSpec,
    source: &'a Source<'a>,
    buffers: &'a mut Buffers,
}

impl Kernel for Fill<'_, '_> {
    type Output = Result<(), KernelError>;

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) -> Self::Output {
        let Fill { piece, spec, source, buffers } = self;
        let fetched = fetched_rows(spec.k);
        for (index, bytes) in piece.bytes.chunks_mut(fetched / PANEL * piece.panel_bytes).enumerate() {
            let first = piece.rows.start + index * fetched;
            let rows = first..(first + fetched).min(piece.rows.end);
            buffers.fetch(spec, source, rows.clone())?;
            for (first, bytes) in rows.clone().step_by(PANEL).zip(bytes.chunks_mut(piece.panel_bytes)) {
                let mut panel = Panel { rows: first..(first + PANEL).min(rows.end), bytes };
                // SAFETY: the processor has `L` (this function's contract), which is all that these ask for.
                unsafe {
                    match source {
                        Source::Float(source) => {
                            panel.fill_from_floats::<L>(spec, *source, buffers)?;
                        }
                        Source::Quantized { group_size, scales, .. } => {
                            panel.fill_from_quantized::<L>(spec.k, &buffers.int8, *group_size, *scales);
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

/// Rows between their source and their panel.
#[derive(Default)]
struct Buffers {
    /// Of floats that stay floats.
    fetched: FetchedRows,
    quantized: Quantized,
    int8: Int8Rows,
    /// `[k]`.
    row: Vec<f32>,
    /// `[16][k]`.
    halves: Vec<f16>,
}

impl Buffers {
    /// Copies rows out of their source.
    fn fetch(
        &mut self,
        spec: &WeightSpec,
        source: &Source<'_>,
        rows: Range<usize>,
    ) -> Result<(), KernelError> {
        match (source, spec.format) {
            (Source::Quantized { rows: source, .. }, _) => self.int8.fetch(*source, rows),
            (Source::Float(source), WeightFormat::W8A16 { group_size, .. }) => {
                self.quantized.fetch(&floats(spec, *source, group_size), rows)
            }
            (Source::Float(source), _) => source.fetch(rows, &mut self.fetched),
        }
    }
}

fn floats<'a>(spec: &'a WeightSpec, rows: &'a dyn FloatRows, group_size: GroupSize) -> Floats<'a> {
    Floats { rows, name: &spec.name, n: spec.n, k: spec.k, group_size }
}

/// int8 rows as their source stores them.
#[derive(Default)]
struct Int8Rows {
    rows: Range<usize>,
    row_bytes: usize,
    offset_binary: bool,
    row_scale_bytes: usize,
    values: Vec<u8>,
    scales: Vec<u8>,
}

impl Int8Rows {
    fn fetch(&mut self, source: &dyn QuantizedRows, rows: Range<usize>) -> Result<(), KernelError> {
        let QuantizedLayout { row_bytes, offset_binary, row_scale_bytes } = source.layout();
        (self.row_bytes, self.offset_binary, self.row_scale_bytes) =
            (row_bytes, offset_binary, row_scale_bytes);
        self.values.resize(rows.len() * row_bytes, 0);
        self.scales.resize(rows.len() * row_scale_bytes, 0);
        source.read_values(rows.clone(), &mut self.values)?;
        source.read_scales(rows.clone(), &mut self.scales)?;
        self.rows = rows;
        Ok(())
    }

    /// Some of the rows that were fetched.
    fn rows(&self, rows: &Range<usize>) -> Rows<'_> {
        let bytes = |row: usize| (rows.start - self.rows.start) * row..(rows.end - self.rows.start) * row;
        Rows {
            values: &self.values[bytes(self.row_bytes)],
            row_bytes: self.row_bytes,
            offset_binary: self.offset_binary,
            scales: &self.scales[bytes(self.row_scale_bytes)],
        }
    }
}

/// One panel to fill, on a processor that has the lanes.
struct Panel<'a> {
    rows: Range<usize>,
    bytes: &'a mut [u8],
}

impl Panel<'_> {
    /// # Safety
    /// The processor has `L`.
    #[inline(always)]
    unsafe fn fill_from_floats<L: Lanes>(
        &mut self,
        spec: &WeightSpec,
        source: &dyn FloatRows,
        buffers: &mut Buffers,
    ) -> Result<(), KernelError> {
        let (k, count) = (spec.k, self.rows.len());
        let Buffers { fetched, quantized, row: values, halves, .. } = buffers;
        values.resize(k, 0.0);
        match spec.format {
            WeightFormat::W8A16 { group_size, scales: scale_type } => {
                let floats = floats(spec, source, group_size);
                let layout = PanelLayout { k, group_size, scale_type };
                // SAFETY: the processor has `L` (this function's contract), which is all that these ask for.
                unsafe {
                    quantized.quantize::<L>(&floats, self.rows.clone())?;
                    products::pack_rows::<L>(&quantized.rows(k), layout, self.bytes);
                }
            }
            WeightFormat::F16 => {
                halves.resize(count * k, f16::ZERO);
                for (row, halves) in self.rows.clone().zip(halves.chunks_mut(k)) {
                    source.read_fetched(row, fetched, values)?;
                    check_finite(&spec.name, row, values)?;
                    halves.convert_from_f32_slice(values);
                    if let Some(column) = halves.iter().position(|half| !half.is_finite()) {
                        to_f16(&spec.name, row, column, values[column])?;
                    }
                }
                // SAFETY: the processor has `L` (this function's contract), which is all that these ask for.
                unsafe {
                    let rows = bytemuck::cast_slice(halves);
                    products::pack_values::<L>(rows, 2 * k, 2 * k, false, self.bytes);
                }
            }
            WeightFormat::F32 => {
                let panel: &mut [f32] = bytemuck::cast_slice_mut(self.bytes);
                for (lane, row) in self.rows.clone().enumerate() {
                    source.read_fetched(row, fetched, values)?;
                    check_finite(&spec.name, row, values)?;
                    for (out, value) in panel[lane..].iter_mut().step_by(PANEL).zip(&*values) {
                        *out = *value;
                    }
                }
            }
        }
        Ok(())
    }

    /// # Safety
    /// The processor has `L`.
    #[inline(always)]
    unsafe fn fill_from_quantized<L: Lanes>(
        &mut self,
        k: usize,
        fetched: &Int8Rows,
        group_size: GroupSize,
        scale_type: ScaleType,
    ) {
        let (rows, layout) = (fetched.rows(&self.rows), PanelLayout { k, group_size, scale_type });
        // SAFETY: the processor has `L` (this function's contract), which is all that these ask for.
        unsafe { products::pack_rows::<L>(&rows, layout, self.bytes) };
    }
}

#[cfg(test)]
mod tests {
    use tinyllm_mem::Category;

    use super::*;
    use crate::Placement;

    #[test]
    fn groups_that_become_0_are_counted() {
        let format = WeightFormat::W8A16 { group_size: GroupSize::Elements(2), scales: ScaleType::F16 };
        let name = "lm_head".into();
        let spec =
            WeightSpec { name, n: 3, k: 4, format, category: Category::Weights, placement: Placement::Slab };
        // Half of the smallest f16, 2^-25, times 127 rounds to 0; a group of zeros is as it should be.
        let small = 126.0 * 2f32.powi(-25);
        let rows = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, small, 0.0, small, small, -small, 0.0];
        let mut panel = vec![0; WeightBytes::of(&spec).panel(&spec)];
        let rows = (&rows[..], 4);
        let source = WeightSource::Float(&rows);
        let found =
            fill(&Team::new(1).unwrap(), Isa::Portable, &spec, vec![(0, panel.as_mut_slice())], source);
        assert_eq!(found.unwrap(), Some(VanishedGroups { weight: "lm_head".into(), count: 3, row: 1 }));
    }

    /// A panel of sixteen rows of two ones, filled from floats.
    fn filled(scales: ScaleType) -> (Result<(), KernelError>, Vec<u8>) {
        let (n, k) = (PANEL, 2);
        let format = WeightFormat::W8A16 { group_size: GroupSize::Channel, scales };
        let name = "layers.0.q".into();
        let spec = WeightSpec { name, n, k, format, category: Category::Weights, placement: Placement::Slab };
        let mut panel = vec![0; (scales.size_bytes() + k) * PANEL];
        let source = WeightSource::Float(&(&[1.0; 2 * PANEL][..], k));
        let result =
            fill(&Team::new(1).unwrap(), Isa::Portable, &spec, vec![(0, panel.as_mut_slice())], source);
        (result.map(|_| ()), panel)
    }

    #[test]
    fn floats_fill_int8_with_scales_of_f16_only() {
        let (result, panel) = filled(ScaleType::F16);
        assert!(result.is_ok());
        // The f16 next to 1/127, sixteen times, and then the largest int8.
        assert_eq!(
            panel,
            [[0x08, 0x20]; PANEL].concat().into_iter().chain([127; 2 * PANEL]).collect::<Vec<u8>>()
        );
        for scales in [ScaleType::Bf16, ScaleType::F32] {
            let (result, panel) = filled(scales);
            let problem = result.unwrap_err().to_string();
            assert!(problem.contains("layers.0.q") && problem.contains("f16"), "{problem}");
            assert!(panel.iter().all(|byte| *byte == 0));
        }
    }
}
