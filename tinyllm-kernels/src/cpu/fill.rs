//! Filling a weight's panels from a source: quantised, rounded or only repacked, by all threads at once.

use std::{ops::Range, sync::Mutex};

use half::{f16, slice::HalfFloatSliceExt};

use super::{
    finite::{check_finite, to_f16},
    lanes::{Kernel, Lanes, dispatch},
    layout::{PANEL, PanelLayout, WeightBytes},
    products::{self, Floats, Quantized, Rows},
    team::Team,
};
use crate::{
    FloatRows, GroupSize, Isa, KernelError, QuantizedRows, RawQuantized, ScaleType, WeightFormat,
    WeightSource, WeightSpec,
};

/// What a thread takes at a time of a large weight: the system calls that give its source's pages back, and the buffers,
/// cost little beside it.
const PIECE_BYTES: usize = 1 << 20;

/// Pieces a thread at least, so that threads end together on small weights too.
const PIECES_A_THREAD: usize = 4;

/// Weights from this size give their source's pages back piece by piece, smaller ones at their end.
const LARGE_BYTES: usize = 4 << 20;

/// Fills panels of a weight: stretches of them, each with the number of its first.
///
/// # Errors
/// Of the first rows at fault, whichever thread met them.
pub(super) fn fill(
    team: &Team,
    isa: Isa,
    spec: &WeightSpec,
    stretches: Vec<(usize, &mut [u8])>,
    source: WeightSource<'_>,
) -> Result<(), KernelError> {
    let source = Source::new(spec, source)?;
    if stretches.is_empty() {
        return Ok(());
    }
    let panel_bytes = WeightBytes::of(spec).panel(spec);
    let bytes = stretches.iter().map(|(_, stretch)| stretch.len()).sum::<usize>();
    let (panels, is_large) = (bytes / panel_bytes, bytes >= LARGE_BYTES);
    let rows = |first: usize, bytes: usize| {
        let panels = first..first + bytes / panel_bytes;
        panels.start * PANEL..(panels.end * PANEL).min(spec.n)
    };
    let filled: Vec<_> = stretches.iter().map(|(first, stretch)| rows(*first, stretch.len())).collect();
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
    team.for_each(pieces.len(), |index| {
        // Each piece is taken once; a poisoned lock means the run is unwinding anyway.
        let Ok(mut piece) = pieces[index].lock() else { return };
        // SAFETY: `Cpu::new` saw to it that the processor has `isa`.
        let result = unsafe { dispatch(isa, Fill { piece: &mut piece, spec, source: &source }) };
        if is_large {
            source.consumed(piece.rows.clone());
        }
        if let (Err(error), Ok(mut first)) = (result, failure.lock())
            && first.as_ref().is_none_or(|(earlier, _)| index < *earlier)
        {
            *first = Some((index, error));
        }
    });
    // Whatever was mapped again around a piece's ends goes as well.
    filled.into_iter().for_each(|rows| source.consumed(rows));
    match failure.into_inner() {
        Ok(Some((_, error))) => Err(error),
        _ => Ok(()),
    }
}

/// Where rows come from, checked against the weight.
enum Source<'a> {
    Float(&'a dyn FloatRows),
    Quantized { rows: &'a dyn QuantizedRows, raw: RawQuantized<'a>, group_size: GroupSize, scales: ScaleType },
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
                return Ok(Source::Quantized { rows, raw: rows.raw(), group_size, scales });
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

    fn consumed(&self, rows: Range<usize>) {
        match self {
            Source::Float(source) => source.consumed(rows),
            Source::Quantized { rows: source, .. } => source.consumed(rows),
        }
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
}

impl Kernel for Fill<'_, '_> {
    type Output = Result<(), KernelError>;

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) -> Self::Output {
        let Fill { piece, spec, source } = self;
        let mut buffers = Buffers::default();
        for (index, bytes) in piece.bytes.chunks_mut(piece.panel_bytes).enumerate() {
            let first = piece.rows.start + index * PANEL;
            let rows = first..(first + PANEL).min(piece.rows.end);
            let mut panel = Panel { rows, bytes };
            // SAFETY: the caller's promise.
            unsafe {
                match source {
                    Source::Float(source) => panel.fill_from_floats::<L>(spec, *source, &mut buffers)?,
                    Source::Quantized { raw, group_size, scales, .. } => {
                        panel.fill_from_quantized::<L>(spec.k, raw, *group_size, *scales);
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
    quantized: Quantized,
    /// `[k]`.
    row: Vec<f32>,
    /// `[16][k]`.
    halves: Vec<f16>,
}

/// One panel to fill, on a processor that has the lanes.
struct Panel<'a> {
    rows: Range<usize>,
    bytes: &'a mut [u8],
}

impl Panel<'_> {
    #[inline(always)]
    unsafe fn fill_from_floats<L: Lanes>(
        &mut self,
        spec: &WeightSpec,
        source: &dyn FloatRows,
        buffers: &mut Buffers,
    ) -> Result<(), KernelError> {
        let (k, count) = (spec.k, self.rows.len());
        let Buffers { quantized, row: values, halves } = buffers;
        values.resize(k, 0.0);
        match spec.format {
            WeightFormat::W8A16 { group_size, scales: scale_type } => {
                let floats = Floats { rows: source, name: &spec.name, n: spec.n, k, group_size };
                let layout = PanelLayout { k, group_size, scale_type };
                // SAFETY: the caller's promise.
                unsafe {
                    quantized.read::<L>(&floats, self.rows.clone())?;
                    products::pack_rows::<L>(&quantized.rows(k), layout, self.bytes);
                }
            }
            WeightFormat::F16 => {
                halves.resize(count * k, f16::ZERO);
                for (row, halves) in self.rows.clone().zip(halves.chunks_mut(k)) {
                    source.read(row..row + 1, values)?;
                    check_finite(&spec.name, row, values)?;
                    halves.convert_from_f32_slice(values);
                    if let Some(column) = halves.iter().position(|half| !half.is_finite()) {
                        to_f16(&spec.name, row, column, values[column])?;
                    }
                }
                // SAFETY: the caller's promise.
                unsafe {
                    let rows = bytemuck::cast_slice(halves);
                    products::pack_values::<L>(rows, 2 * k, 2 * k, false, self.bytes);
                }
            }
            WeightFormat::F32 => {
                let panel: &mut [f32] = bytemuck::cast_slice_mut(self.bytes);
                for (lane, row) in self.rows.clone().enumerate() {
                    source.read(row..row + 1, values)?;
                    check_finite(&spec.name, row, values)?;
                    for (out, value) in panel[lane..].iter_mut().step_by(PANEL).zip(&*values) {
                        *out = *value;
                    }
                }
            }
        }
        Ok(())
    }

    #[inline(always)]
    unsafe fn fill_from_quantized<L: Lanes>(
        &mut self,
        k: usize,
        raw: &RawQuantized<'_>,
        group_size: GroupSize,
        scale_type: ScaleType,
    ) {
        let row_scales = group_size.groups(k) * scale_type.size_bytes();
        let rows = Rows {
            values: &raw.values[self.rows.start * raw.row_bytes..self.rows.end * raw.row_bytes],
            row_bytes: raw.row_bytes,
            offset_binary: raw.offset_binary,
            scales: &raw.scales[self.rows.start * row_scales..self.rows.end * row_scales],
        };
        // SAFETY: the caller's promise.
        unsafe { products::pack_rows::<L>(&rows, PanelLayout { k, group_size, scale_type }, self.bytes) };
    }
}

#[cfg(test)]
mod tests {
    use tinyllm_mem::Category;

    use super::*;
    use crate::Placement;

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
        (result, panel)
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
