//! Uploads: rows of a source through page-locked memory to the device, two chunks at a time, and there to their layout.

use std::ops::Range;

use half::f16;
use rayon::prelude::*;
use tinyllm_mem::{Context, Event, Stream};
use tinyllm_sys::{DevicePointer, EventTiming};

use super::{
    kernels::{Kernels, Queue, RepackInt8, RepackRows},
    layout::ALIGN_BYTES,
    slab::{Int8Place, SlabLayout, WeightPlace},
};
use crate::{
    FloatRows, KernelError, QuantizedMatrix, ScaleType, Source, VectorFormat, VectorId, VectorSpec,
    WeightFormat, WeightId, WeightSpec,
    backend::{Rows, SourceBytes},
    finite::{check_finite, check_rows, to_f16},
    quantize::{self, VanishedGroups},
};

/// A chunk at most.
const CHUNK_BYTES: usize = 32 << 20;

/// Chunks on their way at a time.
pub(super) const CHUNKS: usize = 2;

/// Bytes of a chunk for these tensors: the largest of them, or [`CHUNK_BYTES`], and at least one row of each.
pub(super) fn chunk_bytes(weights: &[WeightSpec], vectors: &[VectorSpec]) -> usize {
    let row = |spec: &WeightSpec| match spec.format {
        // Rows of a file may be longer than k; those are copied one by one.
        WeightFormat::W8A16 { group_size, scales } => {
            spec.k + group_size.groups(spec.k) * scales.size_bytes()
        }
        WeightFormat::F16 => 2 * spec.k,
        WeightFormat::F32 => 4 * spec.k,
    };
    let weights = weights.iter().map(|spec| row(spec).saturating_mul(spec.n).min(CHUNK_BYTES).max(row(spec)));
    let vectors = vectors.iter().map(|spec| spec.len * spec.format.size_bytes());
    let largest = weights.chain(vectors).max().unwrap_or(0);
    // The scales begin at a whole line.
    (largest + ALIGN_BYTES).next_multiple_of(ALIGN_BYTES)
}

/// What uploads need of a session.
pub(super) struct Uploads {
    /// For each chunk, what it last went through.
    done: [Event; CHUNKS],
    chunk_bytes: usize,
    next: usize,
}

/// The memory between which an upload moves bytes.
pub(super) struct Route<'a> {
    /// `[CHUNKS][chunk_bytes]`, page-locked.
    pub(super) pinned: &'a mut [u8],
    /// The same on the device.
    pub(super) device: u64,
    /// The weights slab.
    pub(super) slab: u64,
    pub(super) layout: &'a SlabLayout,
    pub(super) kernels: &'a Kernels,
    pub(super) stream: &'a Stream,
}

impl Uploads {
    pub(super) fn new(context: &Context, chunk_bytes: usize) -> Result<Self, KernelError> {
        let event = || Event::new(context, EventTiming::Disabled);
        Ok(Uploads { done: [event()?, event()?], chunk_bytes, next: 0 })
    }

    /// Uploads a weight from a source of its shape. Returns the groups that have vanished.
    pub(super) fn weight(
        &mut self,
        route: &mut Route<'_>,
        spec: &WeightSpec,
        weight: WeightId,
        source: &Source<'_>,
    ) -> Result<Option<VanishedGroups>, KernelError> {
        match (route.layout.weights[weight.index()], &source.rows, spec.format) {
            (WeightPlace::Int8(place), Rows::Quantized(matrix), _) => {
                check_rows(spec, matrix)?;
                self.int8_rows(route, spec, &place, matrix)?;
                Ok(None)
            }
            (WeightPlace::Int8(place), Rows::Float(rows), _) => {
                self.quantized_rows(route, spec, &place, *rows)
            }
            (WeightPlace::Floats { offset, bytes_each }, Rows::Float(rows), _) => {
                self.float_rows(route, spec, offset, bytes_each, *rows)?;
                Ok(None)
            }
            (WeightPlace::Floats { .. }, Rows::Quantized(_), _) => {
                let problem = "int8 rows cannot fill a floating-point weight".into();
                Err(KernelError::Source { name: spec.name.clone(), problem })
            }
        }
    }

    /// int8 rows as their file has them.
    fn int8_rows(
        &mut self,
        route: &mut Route<'_>,
        spec: &WeightSpec,
        place: &Int8Place,
        matrix: &QuantizedMatrix<SourceBytes<'_>>,
    ) -> Result<(), KernelError> {
        let flip = if matrix.is_offset_binary() { 0x80 } else { 0 };
        let (row_bytes, scale_bytes) = (matrix.row_bytes(), matrix.row_scale_bytes());
        if row_bytes + scale_bytes + ALIGN_BYTES > self.chunk_bytes {
            let problem = format!("rows of {row_bytes} bytes, where {} are used", spec.k);
            return Err(KernelError::Source { name: spec.name.clone(), problem });
        }
        let rows = self.rows_a_chunk(row_bytes + scale_bytes);
        for first in (0..spec.n).step_by(rows) {
            let rows = first..spec.n.min(first + rows);
            let scales_at = (rows.len() * row_bytes).next_multiple_of(ALIGN_BYTES);
            let bytes = scales_at + rows.len() * scale_bytes;
            self.chunk(route, bytes, |chunk| {
                let (values, scales) = chunk.split_at_mut(scales_at);
                let values = &mut values[..rows.len() * row_bytes];
                read_parallel(values, row_bytes, rows.start, |rows, out| matrix.read_values(rows, out))?;
                read_parallel(scales, scale_bytes, rows.start, |rows, out| matrix.read_scales(rows, out))
            })?;
            self.repack_int8(route, place, &rows, (row_bytes, flip), scales_at)?;
        }
        Ok(())
    }

    /// Rows of floats, quantised on the way.
    fn quantized_rows(
        &mut self,
        route: &mut Route<'_>,
        spec: &WeightSpec,
        place: &Int8Place,
        source: &dyn FloatRows,
    ) -> Result<Option<VanishedGroups>, KernelError> {
        let WeightFormat::W8A16 { group_size, scales: ScaleType::F16 } = spec.format else {
            let problem = format!(
                "floats are quantised with scales of f16, where the weight's are {}; give int8 rows",
                place.scale_type.name()
            );
            return Err(KernelError::Source { name: spec.name.clone(), problem });
        };
        let (k, group, groups) = (spec.k, group_size.elements(spec.k), place.cut.groups as usize);
        let scale_bytes = groups * size_of::<f16>();
        let rows = self.rows_a_chunk(k + scale_bytes);
        let mut vanished: Option<(usize, usize)> = None;
        for first in (0..spec.n).step_by(rows) {
            let rows = first..spec.n.min(first + rows);
            let scales_at = (rows.len() * k).next_multiple_of(ALIGN_BYTES);
            let mut counts = vec![0; rows.len()];
            self.chunk(route, scales_at + rows.len() * scale_bytes, |chunk| {
                let (values, scales) = chunk.split_at_mut(scales_at);
                let values: &mut [i8] = bytemuck::cast_slice_mut(&mut values[..rows.len() * k]);
                let scales: &mut [f16] = bytemuck::cast_slice_mut(scales);
                let places = values.par_chunks_exact_mut(k).zip(scales.par_chunks_exact_mut(groups));
                let results = places.zip(&mut counts).enumerate().map_init(
                    || vec![0.0; k],
                    |floats, (index, ((q, scales), count))| {
                        let row = rows.start + index;
                        source.read(row..row + 1, floats)?;
                        *count = quantize::quantize(&spec.name, row, floats, group, q, scales)?;
                        Ok(())
                    },
                );
                first_error(results)
            })?;
            let found = counts.iter().enumerate().filter(|(_, count)| **count > 0);
            for (row, count) in found.map(|(index, count)| (rows.start + index, *count)) {
                vanished = Some(vanished.map_or((count, row), |(sum, first)| (sum + count, first)));
            }
            self.repack_int8(route, place, &rows, (k, 0), scales_at)?;
        }
        Ok(vanished.map(|(count, row)| VanishedGroups { weight: spec.name.clone(), count, row }))
    }

    /// Rows of floats that stay floats.
    fn float_rows(
        &mut self,
        route: &mut Route<'_>,
        spec: &WeightSpec,
        offset: usize,
        bytes_each: usize,
        source: &dyn FloatRows,
    ) -> Result<(), KernelError> {
        let row_bytes = spec.k * bytes_each;
        let rows = self.rows_a_chunk(row_bytes);
        for first in (0..spec.n).step_by(rows) {
            let rows = first..spec.n.min(first + rows);
            self.chunk(route, rows.len() * row_bytes, |chunk| {
                let results = chunk.par_chunks_exact_mut(row_bytes).enumerate().map_init(
                    || vec![0.0; spec.k],
                    |floats, (index, out)| {
                        let row = rows.start + index;
                        source.read(row..row + 1, floats)?;
                        check_finite(&spec.name, row, floats)?;
                        write_floats(&spec.name, row, floats, bytes_each == 2, out)
                    },
                );
                first_error(results)
            })?;
            let repack = RepackRows {
                source: route.device + self.offset(),
                bytes_each: bytes_each as u32,
                first_row: rows.start as u32,
                rows: rows.len() as u32,
                columns: spec.k as u32,
                to: route.slab + offset as u64,
            };
            self.finish(route, |queue| repack.launch(queue))?;
        }
        Ok(())
    }

    /// Uploads a vector from one row of its length.
    pub(super) fn vector(
        &mut self,
        route: &mut Route<'_>,
        spec: &VectorSpec,
        vector: VectorId,
        source: &Source<'_>,
    ) -> Result<(), KernelError> {
        let (Rows::Float(rows), crate::Keep::Copy | crate::Keep::UntilWarm) = (&source.rows, source.keep)
        else {
            let problem = "a vector is copied from f32".into();
            return Err(KernelError::Source { name: spec.name.clone(), problem });
        };
        let mut values = vec![0.0; spec.len];
        rows.read(0..1, &mut values)?;
        check_finite(&spec.name, 0, &values)?;
        let bytes = spec.len * spec.format.size_bytes();
        let to = DevicePointer(route.slab + route.layout.vectors[vector.index()] as u64);
        self.wait()?;
        let at = self.offset() as usize;
        let chunk = &mut route.pinned[at..at + bytes];
        write_floats(&spec.name, 0, &values, spec.format == VectorFormat::F16, chunk)?;
        let source = chunk.as_ptr();
        Queue::new(route.stream, route.kernels).run("upload", |driver, stream| {
            // SAFETY: `chunk` is page-locked memory of `bytes` bytes that is not written until `wait` has seen the event
            // which `finish` records; the vector's place in the slab has as many (`SlabLayout`).
            unsafe { driver.memcpy_htod_async(to, source, bytes, stream) }
        })?;
        self.finish(route, |_| Ok(()))
    }

    /// Rows of `row_bytes` each that fit a chunk, beside the alignment of a second section.
    fn rows_a_chunk(&self, row_bytes: usize) -> usize {
        ((self.chunk_bytes - ALIGN_BYTES) / row_bytes.max(1)).max(1)
    }

    /// Where the chunk at hand begins.
    fn offset(&self) -> u64 {
        (self.next * self.chunk_bytes) as u64
    }

    /// Waits until the chunk at hand can be written again.
    fn wait(&self) -> Result<(), KernelError> {
        Ok(self.done[self.next].synchronize()?)
    }

    /// Fills the chunk at hand, and queues its copy to the device.
    fn chunk(
        &mut self,
        route: &mut Route<'_>,
        bytes: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<(), KernelError>,
    ) -> Result<(), KernelError> {
        self.wait()?;
        let at = self.offset() as usize;
        let chunk = &mut route.pinned[at..at + bytes];
        fill(chunk)?;
        let (source, to) = (chunk.as_ptr(), DevicePointer(route.device + at as u64));
        Queue::new(route.stream, route.kernels).run("upload", |driver, stream| {
            // SAFETY: `chunk` is page-locked memory of `bytes` bytes that is not written until `wait` has seen the event
            // which `finish` records; its twin on the device is as large.
            unsafe { driver.memcpy_htod_async(to, source, bytes, stream) }
        })
    }

    /// Queues what is done with the chunk at hand on the device, and takes the next one.
    fn finish(
        &mut self,
        route: &Route<'_>,
        repack: impl FnOnce(&Queue<'_>) -> Result<(), KernelError>,
    ) -> Result<(), KernelError> {
        repack(&Queue::new(route.stream, route.kernels))?;
        self.done[self.next].record(route.stream)?;
        self.next = (self.next + 1) % CHUNKS;
        Ok(())
    }

    fn repack_int8(
        &mut self,
        route: &Route<'_>,
        place: &Int8Place,
        rows: &Range<usize>,
        (row_bytes, flip): (usize, u32),
        scales_at: usize,
    ) -> Result<(), KernelError> {
        let source = route.device + self.offset();
        let repack = RepackInt8 {
            values: source,
            row_bytes: row_bytes as u32,
            flip,
            scales: source + scales_at as u64,
            scale_bytes: place.scale_type.size_bytes() as u32,
            first_row: rows.start as u32,
            rows: rows.len() as u32,
            rows_per_tile: place.half.outputs() as u32,
            first_in_tile: place.half.first() as u32,
            cut: place.cut,
            to_values: route.slab + place.values as u64,
            to_scales: route.slab + place.scales as u64,
        };
        self.finish(route, |queue| repack.launch(queue))
    }
}

/// Fills `out`, `[rows][row_bytes]`, from row `first` on, in parallel.
fn read_parallel(
    out: &mut [u8],
    row_bytes: usize,
    first: usize,
    read: impl Fn(Range<usize>, &mut [u8]) -> Result<(), KernelError> + Sync,
) -> Result<(), KernelError> {
    let rows = (out.len() / row_bytes.max(1)).div_ceil(rayon::current_num_threads()).max(1);
    let parts = out.par_chunks_mut(rows * row_bytes).enumerate().map(|(index, out)| {
        let start = first + index * rows;
        read(start..start + out.len() / row_bytes, out)
    });
    first_error(parts)
}

/// The error of the first row that has one.
fn first_error(
    results: impl IndexedParallelIterator<Item = Result<(), KernelError>>,
) -> Result<(), KernelError> {
    let first = results.enumerate().filter_map(|(index, result)| result.err().map(|error| (index, error)));
    first.min_by_key(|(index, _)| *index).map_or(Ok(()), |(_, error)| Err(error))
}

/// Writes a row as f16 or f32.
fn write_floats(
    name: &str,
    row: usize,
    values: &[f32],
    is_f16: bool,
    out: &mut [u8],
) -> Result<(), KernelError> {
    if is_f16 {
        for (column, (out, value)) in out.as_chunks_mut().0.iter_mut().zip(values).enumerate() {
            *out = to_f16(name, row, column, *value)?.to_ne_bytes();
        }
    } else {
        out.as_chunks_mut().0.iter_mut().zip(values).for_each(|(out, value)| *out = value.to_ne_bytes());
    }
    Ok(())
}
