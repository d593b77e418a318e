//! The weights slab of a device: the place of each weight and vector, and the memory category of its bytes.

use std::collections::BTreeMap;

use tinyllm_mem::{Category, Part};

use super::layout::{ALIGN_BYTES, FLOAT_PANEL, PieceSteps, TILE_OUTPUTS, TileBytes};
use crate::{KernelError, Op, Placement, Program, ScaleType, WeightFormat, WeightSpec};

/// Where a weight matrix lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum WeightPlace {
    Int8(Int8Place),
    /// Panels of 32 outputs, `[panels][k][32]`.
    Floats {
        offset: usize,
        bytes_each: usize,
    },
}

/// Where an int8 matrix lies: tiles of its own, or half of the tiles that gate and up share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Int8Place {
    pub(super) values: usize,
    pub(super) scales: usize,
    pub(super) scale_type: ScaleType,
    pub(super) cut: PieceSteps,
    pub(super) half: Half,
}

/// Which rows of each tile belong to a matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Half {
    /// All sixteen.
    Whole,
    /// The first eight: the gate of a SwiGLU.
    Gate,
    /// The last eight: its up.
    Up,
}

impl Half {
    /// Outputs of the matrix in a tile.
    pub(super) fn outputs(self) -> usize {
        if self == Half::Whole { TILE_OUTPUTS } else { TILE_OUTPUTS / 2 }
    }

    /// The first of them in a tile.
    pub(super) fn first(self) -> usize {
        if self == Half::Up { TILE_OUTPUTS / 2 } else { 0 }
    }
}

/// The whole slab.
#[derive(Clone, Debug, Default)]
pub(super) struct SlabLayout {
    /// By [`crate::WeightId::index`].
    pub(super) weights: Vec<WeightPlace>,
    /// By [`crate::VectorId::index`]: offsets.
    pub(super) vectors: Vec<usize>,
    /// The slab's parts in reports, by weight and vector; padding to whole tiles and alignment are one part.
    pub(super) parts: Vec<Part>,
    bytes: usize,
}

impl SlabLayout {
    /// # Errors
    /// [`KernelError::Invalid`] for a mapped weight, and for sizes that overflow.
    pub(super) fn of(program: &Program) -> Result<Self, KernelError> {
        let partners = gates_and_ups(program);
        let mut slab = SlabLayout::default();
        for (index, spec) in program.weights().iter().enumerate() {
            if spec.placement == Placement::Mapped {
                let problem = format!("{} is mapped, and a device copies weights", spec.name);
                return Err(KernelError::Invalid { what: "placement", problem });
            }
            let place = match partners.get(&index) {
                Some((other, half)) if *other < index => slab.beside(spec, *other, *half),
                Some((_, half)) => slab.place_weight(spec, *half),
                None => slab.place_weight(spec, Half::Whole),
            };
            slab.weights.push(place?);
        }
        for spec in program.vectors() {
            let bytes = spec.len * spec.format.size_bytes();
            let offset = slab.take(bytes)?;
            slab.vectors.push(offset);
            slab.part(spec.category, &spec.name, "", bytes);
            slab.part(Category::Padding, &spec.name, ".padding", slab.bytes - offset - bytes);
        }
        Ok(slab)
    }

    fn place_weight(&mut self, spec: &WeightSpec, half: Half) -> Result<WeightPlace, KernelError> {
        match spec.format {
            WeightFormat::W8A16 { group_size, scales } => {
                let cut = PieceSteps::of_weight(group_size, spec.k)?;
                let tiles = spec.n.div_ceil(half.outputs());
                let bytes = TileBytes::new(tiles, &cut, scales.size_bytes()).ok_or_else(too_large)?;
                let (start, values) = (self.bytes, self.take(bytes.values)?);
                let place = self.take(bytes.scales)?;
                // What the partner's rows take is counted as its own.
                let logical = spec.n * (spec.k + cut.groups as usize * scales.size_bytes());
                let others = if half == Half::Whole { 0 } else { logical };
                self.int8_parts(spec, &cut, scales);
                self.part(Category::Padding, &spec.name, ".padding", self.bytes - start - logical - others);
                Ok(WeightPlace::Int8(Int8Place { values, scales: place, scale_type: scales, cut, half }))
            }
            WeightFormat::F16 => self.place_floats(spec, 2),
            WeightFormat::F32 => self.place_floats(spec, 4),
        }
    }

    fn place_floats(&mut self, spec: &WeightSpec, bytes_each: usize) -> Result<WeightPlace, KernelError> {
        let outputs = spec.n.next_multiple_of(FLOAT_PANEL);
        let bytes = outputs.checked_mul(spec.k).and_then(|elements| elements.checked_mul(bytes_each));
        let offset = self.take(bytes.ok_or_else(too_large)?)?;
        let logical = spec.n * spec.k * bytes_each;
        self.part(spec.category, &spec.name, "", logical);
        self.part(Category::Padding, &spec.name, ".padding", self.bytes - offset - logical);
        Ok(WeightPlace::Floats { offset, bytes_each })
    }

    /// The place of a matrix in the tiles of its partner, which was placed before.
    fn beside(&mut self, spec: &WeightSpec, partner: usize, half: Half) -> Result<WeightPlace, KernelError> {
        let WeightPlace::Int8(place) = self.weights[partner] else { return self.place_weight(spec, half) };
        self.int8_parts(spec, &place.cut, place.scale_type);
        Ok(WeightPlace::Int8(Int8Place { half, ..place }))
    }

    fn int8_parts(&mut self, spec: &WeightSpec, cut: &PieceSteps, scales: ScaleType) {
        self.part(spec.category, &spec.name, "", spec.n * spec.k);
        let scale_bytes = spec.n * cut.groups as usize * scales.size_bytes();
        self.part(Category::Scales, &spec.name, ".scales", scale_bytes);
    }

    /// The next `bytes` bytes, aligned.
    fn take(&mut self, bytes: usize) -> Result<usize, KernelError> {
        let start = self.bytes;
        let end = start.checked_add(bytes).and_then(|end| end.checked_next_multiple_of(ALIGN_BYTES));
        self.bytes = end.ok_or_else(too_large)?;
        Ok(start)
    }

    fn part(&mut self, category: Category, name: &str, suffix: &str, bytes: usize) {
        if bytes > 0 {
            self.parts.push(Part::new(category, format!("{name}{suffix}"), bytes));
        }
    }
}

fn too_large() -> KernelError {
    KernelError::Invalid { what: "weights", problem: "their bytes overflow".into() }
}

/// The int8 matrices of each SwiGLU that share tiles: of one shape and format, and used there only. By weight: the other
/// one, and the half that it has itself.
fn gates_and_ups(program: &Program) -> BTreeMap<usize, (usize, Half)> {
    let mut uses = vec![0usize; program.weights().len()];
    for op in program.ops() {
        op.matmuls().iter().for_each(|matmul| uses[matmul.weight.index()] += 1);
        if let Op::Embed { table, .. } = op {
            uses[table.index()] += 1;
        }
    }
    let mut partners = BTreeMap::new();
    for op in program.ops() {
        let Op::SwiGluLinear { gate, up, .. } = op else { continue };
        let (gate, up) = (gate.weight.index(), up.weight.index());
        let (first, second) = (&program.weights()[gate], &program.weights()[up]);
        let is_int8 = matches!(first.format, WeightFormat::W8A16 { .. });
        let is_same = first.format == second.format && (first.n, first.k) == (second.n, second.k);
        if is_int8 && is_same && uses[gate] == 1 && uses[up] == 1 {
            partners.insert(gate, (up, Half::Gate));
            partners.insert(up, (gate, Half::Up));
        }
    }
    partners
}
