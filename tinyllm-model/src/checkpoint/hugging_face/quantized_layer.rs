//! One quantised layer: its parts in the files, checked against each other.

use safetensors::Dtype;
use tinyllm_kernels::{GroupSize, ScaleType};

use super::{
    files::{Located, WeightFiles},
    inventory::Inventory,
};
use crate::{
    ModelError, Result,
    checkpoint::safetensors::StoredTensor,
    config::compressed_tensors::{GroupScheme, PackFormat},
};

/// Where a W8A16 layer's bytes are.
#[derive(Debug)]
pub(super) struct QuantizedLayer {
    /// `[n, row_bytes]`.
    pub(super) values: Located,
    /// `[n, groups]`.
    pub(super) scales: Located,
    /// The scales' type.
    pub(super) scale_type: ScaleType,
    /// Bytes from one row to the next.
    pub(super) row_bytes: usize,
    /// Whether a byte is `q + 128`.
    pub(super) offset_binary: bool,
    /// Bytes of all parts in the file.
    pub(super) stored_bytes: u64,
}

const PARTS: [&str; 5] =
    [".weight_packed", ".weight_scale", ".weight_shape", ".weight_zero_point", ".weight_g_idx"];

/// Whether a tensor's name is one of those that only quantised layers have.
pub(super) fn is_part_of_quantized(name: &str) -> bool {
    PARTS.iter().any(|part| name.ends_with(part))
}

/// Takes the parts of `module`, a `[n, k]` layer stored by `scheme`.
pub(super) fn quantized_layer(
    module: &str,
    (n, k): (usize, usize),
    scheme: GroupScheme,
    inventory: &mut Inventory,
    files: &WeightFiles,
) -> Result<QuantizedLayer> {
    let mut parts = Parts { module, inventory, files, stored_bytes: 0 };
    if let Some((at, _)) = parts.optional("weight_g_idx") {
        return Err(ModelError::unsupported(
            &files.file(at.file).path,
            format!("{module}.weight_g_idx"),
            "an activation order (columns of one group that are not neighbours)",
            "quantise the model with actorder null, static or weight",
        ));
    }
    let (values, row_bytes, offset_binary) = match scheme.format {
        PackFormat::Packed => {
            let words = k.div_ceil(4);
            let (values, _) = parts.required("weight_packed", &[Dtype::I32], &[&[n, words]])?;
            (values, 4 * words, true)
        }
        PackFormat::Int8 => {
            let (values, _) = parts.required("weight", &[Dtype::I8], &[&[n, k]])?;
            (values, k, false)
        }
    };
    let groups = match scheme.group_size {
        Some(elements) => GroupSize::Elements(elements).groups(k),
        None => 1,
    };
    let as_vector = [n];
    let shapes: &[&[usize]] = if groups == 1 { &[&[n, 1], &as_vector] } else { &[&[n, groups]] };
    let (scales, stored) = parts.required("weight_scale", &[Dtype::F16, Dtype::BF16, Dtype::F32], shapes)?;
    let scale_type = match stored.dtype {
        Dtype::F16 => ScaleType::F16,
        Dtype::BF16 => ScaleType::Bf16,
        _ => ScaleType::F32,
    };
    parts.check_weight_shape((n, k), scheme.format)?;
    parts.check_zero_point(shapes)?;
    let stored_bytes = parts.stored_bytes;
    Ok(QuantizedLayer { values, scales, scale_type, row_bytes, offset_binary, stored_bytes })
}

/// The parts of one layer.
struct Parts<'a> {
    module: &'a str,
    inventory: &'a mut Inventory,
    files: &'a WeightFiles,
    stored_bytes: u64,
}

impl Parts<'_> {
    fn optional(&mut self, part: &str) -> Option<(Located, StoredTensor)> {
        let (at, stored) = self.inventory.take(&format!("{}.{part}", self.module))?;
        self.stored_bytes += at.bytes.len() as u64;
        Some((at, stored))
    }

    fn malformed(&self, part: &str, at: &Located, problem: String) -> ModelError {
        let path = &self.files.file(at.file).path;
        ModelError::malformed(path, format!("{}.{part}", self.module), problem)
    }

    fn required(
        &mut self,
        part: &str,
        dtypes: &[Dtype],
        shapes: &[&[usize]],
    ) -> Result<(Located, StoredTensor)> {
        let Some((at, stored)) = self.optional(part) else {
            let mut problem = "missing; config.json's quantization_config covers this layer".to_owned();
            if self.inventory.get(&format!("{}.weight", self.module)).is_some() {
                problem += ", and the file holds its weight unquantised: add the layer to quantization_config.ignore";
            }
            return Err(ModelError::malformed(
                self.files.label(),
                format!("{}.{part}", self.module),
                problem,
            ));
        };
        if !dtypes.contains(&stored.dtype) {
            let names: Vec<String> = dtypes.iter().map(Dtype::to_string).collect();
            let problem = format!("is of type {}, and must be {}", stored.dtype, names.join(" or "));
            return Err(self.malformed(part, &at, problem));
        }
        if !shapes.contains(&stored.shape.as_slice()) {
            let problem = format!("has shape {:?}, and must have {:?}", stored.shape, shapes[0]);
            return Err(self.malformed(part, &at, problem));
        }
        Ok((at, stored))
    }

    /// `weight_shape` says what the packed bytes cannot: how many columns of the last int32 count.
    fn check_weight_shape(&mut self, (n, k): (usize, usize), format: PackFormat) -> Result<()> {
        const PART: &str = "weight_shape";
        if format == PackFormat::Int8 && self.inventory.get(&format!("{}.{PART}", self.module)).is_none() {
            return Ok(());
        }
        let (at, _) = self.required(PART, &[Dtype::I64], &[&[2]])?;
        let mut bytes = [0; 16];
        self.files.range(&at)?.read_at(0, &mut bytes)?;
        let stored: Vec<i64> =
            bytes.as_chunks().0.iter().map(|element| i64::from_le_bytes(*element)).collect();
        if stored != [n as i64, k as i64] {
            let problem = format!("says {stored:?}, and the layer's tensors are of [{n}, {k}]");
            return Err(self.malformed(PART, &at, problem));
        }
        Ok(())
    }

    /// Zero points of a symmetric quantisation may be stored, as zeros.
    fn check_zero_point(&mut self, shapes: &[&[usize]]) -> Result<()> {
        const PART: &str = "weight_zero_point";
        if self.inventory.get(&format!("{}.{PART}", self.module)).is_none() {
            return Ok(());
        }
        let integers = [Dtype::I8, Dtype::I16, Dtype::I32, Dtype::I64];
        let (at, _) = self.required(PART, &integers, shapes)?;
        if self.files.any_block(&at, |bytes| bytes.iter().any(|byte| *byte != 0))? {
            return Err(ModelError::unsupported(
                &self.files.file(at.file).path,
                format!("{}.{PART}", self.module),
                "asymmetric quantisation (zero points)",
                "quantise the model with symmetric true",
            ));
        }
        Ok(())
    }
}
