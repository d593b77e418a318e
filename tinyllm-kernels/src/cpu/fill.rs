//! Fills a weight's panels from a source: quantises, rounds or only repacks its rows, on all threads.

use std::{ops::Range, sync::Mutex};

use half::{f16, slice::HalfFloatSliceExt};

use super::{
    lanes::{Kernel, Lanes, dispatch},
    layout::{PANEL, WeightBytes},
    matmul::{self, Floats, Quantized, fetched_rows},
    threads::Pool,
};
use crate::{
    FetchedRows, FloatRows, GroupSize, Isa, KernelError, QuantizedMatrix, ScaleType, Source, WeightFormat,
    WeightSpec,
    backend::{Rows, SourceBytes},
    finite::{check_finite, to_f16},
    quantize::VanishedGroups,
};

/// Chunk size for a large weight: a thread's buffers are small beside it.
const CHUNK_BYTES: usize = 1 << 20;

/// Least number of chunks per thread, which balances small weights.
const CHUNKS_A_THREAD: usize = 4;

/// Fills panels of a weight: extents, each with the index of its first panel. Returns the groups that have vanished.
///
/// # Errors
/// The error of the first chunk with one, whichever thread ran it.
pub(super) fn fill(
    pool: &Pool,
    isa: Isa,
    spec: &WeightSpec,
    extents: Vec<(usize, &mut [u8])>,
    source: Source<'_>,
) -> Result<Option<VanishedGroups>, KernelError> {
    let source = source.rows;
    check(spec, &source)?;
    if extents.is_empty() {
        return Ok(None);
    }
    let panel_bytes = WeightBytes::of(spec).panel(spec);
    let panels = extents.iter().map(|(_, extent)| extent.len()).sum::<usize>() / panel_bytes;
    let rows = |first: usize, bytes: usize| {
        let panels = first..first + bytes / panel_bytes;
        panels.start * PANEL..(panels.end * PANEL).min(spec.n)
    };
    let chunk = panels.div_ceil(CHUNKS_A_THREAD * pool.workers()).min(CHUNK_BYTES / panel_bytes).max(1);
    let chunks: Vec<Mutex<Chunk<'_>>> = extents
        .into_iter()
        .flat_map(|(first, extent)| {
            let chunks = extent.chunks_mut(chunk * panel_bytes).enumerate();
            chunks.map(move |(index, bytes)| {
                Mutex::new(Chunk { rows: rows(first + index * chunk, bytes.len()), panel_bytes, bytes })
            })
        })
        .collect();
    let failure: Mutex<Option<(usize, KernelError)>> = Mutex::new(None);
    // Buffers that no thread is using: as many as threads at most.
    let idle: Mutex<Vec<Buffers>> = Mutex::new(Vec::new());
    pool.for_each(chunks.len(), |index| {
        // Each chunk is taken once; a poisoned lock means that the run is unwinding.
        let Ok(mut chunk) = chunks[index].lock() else { return };
        let mut buffers = idle.lock().ok().and_then(|mut idle| idle.pop()).unwrap_or_default();
        // SAFETY: `isa` is a `Cpu`'s, and `Cpu::new` checked that the processor has it.
        let result = unsafe {
            dispatch(isa, Fill { chunk: &mut chunk, spec, source: &source, buffers: &mut buffers })
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

/// Refuses a source that cannot fill the weight; `check_rows` has checked int8 rows.
fn check(spec: &WeightSpec, rows: &Rows<'_>) -> Result<(), KernelError> {
    match (rows, spec.format) {
        (Rows::Float(_), WeightFormat::W8A16 { scales, .. }) if scales != ScaleType::F16 => {
            let problem = format!(
                "floats are quantised with scales of f16, where the weight's are {scales:?}; give int8 rows"
            );
            Err(KernelError::Source { name: spec.name.clone(), problem })
        }
        _ => Ok(()),
    }
}

/// Consecutive panels of a weight.
struct Chunk<'a> {
    rows: Range<usize>,
    panel_bytes: usize,
    bytes: &'a mut [u8],
}

/// The work on one chunk, compiled for each instruction set: the compiler vectorises it.
struct Fill<'a, 'b> {
    chunk: &'a mut Chunk<'b>,
    spec: &'a WeightSpec,
    source: &'a Rows<'a>,
    buffers: &'a mut Buffers,
}

impl Kernel for Fill<'_, '_> {
    type Output = Result<(), KernelError>;

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) -> Self::Output {
        let Fill { chunk, spec, source, buffers } = self;
        let fetched = fetched_rows(spec.k);
        for (index, bytes) in chunk.bytes.chunks_mut(fetched / PANEL * chunk.panel_bytes).enumerate() {
            let first = chunk.rows.start + index * fetched;
            let rows = first..(first + fetched).min(chunk.rows.end);
            buffers.fetch(spec, source, rows.clone())?;
            for (first, bytes) in rows.clone().step_by(PANEL).zip(bytes.chunks_mut(chunk.panel_bytes)) {
                let mut panel = Panel { rows: first..(first + PANEL).min(rows.end), bytes };
                // SAFETY: the processor has `L` (this function's contract), which is all that these functions require.
                unsafe {
                    match source {
                        Rows::Float(source) => {
                            panel.fill_from_floats::<L>(spec, *source, buffers)?;
                        }
                        Rows::Quantized(_) => {
                            panel.fill_from_quantized::<L>(&buffers.int8);
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

/// Buffers for rows between their source and their panel.
#[derive(Default)]
struct Buffers {
    /// Rows of floats that stay floats.
    fetched: FetchedRows,
    quantized: Quantized,
    int8: Int8Rows,
    /// `[k]`.
    row: Vec<f32>,
    /// `[16][k]`.
    halves: Vec<f16>,
}

impl Buffers {
    /// Copies rows from the source to the buffers.
    fn fetch(&mut self, spec: &WeightSpec, source: &Rows<'_>, rows: Range<usize>) -> Result<(), KernelError> {
        match (source, spec.format) {
            (Rows::Quantized(matrix), _) => self.int8.fetch(matrix, rows),
            (Rows::Float(source), WeightFormat::W8A16 { group_size, .. }) => {
                self.quantized.fetch(&floats(spec, *source, group_size), rows)
            }
            (Rows::Float(source), _) => source.fetch(rows, &mut self.fetched),
        }
    }
}

fn floats<'a>(spec: &'a WeightSpec, rows: &'a dyn FloatRows, group_size: GroupSize) -> Floats<'a> {
    Floats { rows, name: &spec.name, n: spec.n, k: spec.k, group_size }
}

/// int8 rows, copied as their source stores them.
#[derive(Default)]
struct Int8Rows {
    rows: Range<usize>,
    /// Shape and format of those rows.
    matrix: Option<QuantizedMatrix<()>>,
    values: Vec<u8>,
    scales: Vec<u8>,
}

impl Int8Rows {
    fn fetch(
        &mut self,
        source: &QuantizedMatrix<SourceBytes<'_>>,
        rows: Range<usize>,
    ) -> Result<(), KernelError> {
        self.values.resize(rows.len() * source.row_bytes, 0);
        self.scales.resize(rows.len() * source.row_scale_bytes(), 0);
        source.read_values(rows.clone(), &mut self.values)?;
        source.read_scales(rows.clone(), &mut self.scales)?;
        self.matrix = Some(QuantizedMatrix { n: rows.len(), ..source.with_bytes(|_| ()) });
        self.rows = rows;
        Ok(())
    }

    /// Some of the rows that were fetched; `None` before any were.
    fn rows(&self, rows: &Range<usize>) -> Option<QuantizedMatrix<&[u8]>> {
        let matrix = self.matrix.as_ref()?;
        let fetched = matrix.in_memory(&self.values, &self.scales);
        Some(fetched.rows(rows.start - self.rows.start..rows.end - self.rows.start))
    }
}

/// One panel to fill.
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
            WeightFormat::W8A16 { group_size, .. } => {
                let floats = floats(spec, source, group_size);
                // SAFETY: the processor has `L` (this function's contract), which is all that these functions require.
                unsafe {
                    quantized.quantize::<L>(&floats, self.rows.clone())?;
                    matmul::pack_rows::<L>(&quantized.rows(&floats), self.bytes);
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
                // SAFETY: the processor has `L` (this function's contract), which is all that these functions require.
                unsafe {
                    let rows = bytemuck::cast_slice(halves);
                    matmul::pack_values::<L>(rows, 2 * k, 2 * k, false, self.bytes);
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
    unsafe fn fill_from_quantized<L: Lanes>(&mut self, fetched: &Int8Rows) {
        let Some(rows) = fetched.rows(&self.rows) else { return };
        // SAFETY: the processor has `L` (this function's contract), which is all that these functions require.
        unsafe { matmul::pack_rows::<L>(&rows, self.bytes) };
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
        // Scales up to 2^-25, half of the smallest f16, round to 0; a group of zeros does not count.
        let small = 126.0 * 2f32.powi(-25);
        let rows = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, small, 0.0, small, small, -small, 0.0];
        let mut panel = vec![0; WeightBytes::of(&spec).panel(&spec)];
        let rows = (&rows[..], 4);
        let source = Source::float(&rows);
        let found =
            fill(&Pool::new(1).unwrap(), Isa::Portable, &spec, vec![(0, panel.as_mut_slice())], source);
        assert_eq!(found.unwrap(), Some(VanishedGroups { weight: "lm_head".into(), count: 3, row: 1 }));
    }

    /// A panel of sixteen rows of two ones, filled from floats.
    fn filled(scales: ScaleType) -> (Result<(), KernelError>, Vec<u8>) {
        let (n, k) = (PANEL, 2);
        let format = WeightFormat::W8A16 { group_size: GroupSize::Channel, scales };
        let name = "layers.0.q".into();
        let spec = WeightSpec { name, n, k, format, category: Category::Weights, placement: Placement::Slab };
        let mut panel = vec![0; (scales.size_bytes() + k) * PANEL];
        let rows = (&[1.0; 2 * PANEL][..], k);
        let source = Source::float(&rows);
        let result =
            fill(&Pool::new(1).unwrap(), Isa::Portable, &spec, vec![(0, panel.as_mut_slice())], source);
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
