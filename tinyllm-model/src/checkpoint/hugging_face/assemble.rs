//! Matches the tensors that a configuration requires with those in the files. None may be missing, misshapen or left
//! over.

use super::{
    files::{Located, WeightFiles},
    inventory::Inventory,
    quantized_layer::{QuantizedLayer, is_part_of_quantized, quantized_layer},
};
use crate::{
    ModelConfig, ModelError, Result,
    checkpoint::{
        Storage, TensorInfo,
        expected::{EMBEDDING, ExpectedTensor, LM_HEAD, TensorKind, expected_tensors, is_harmless_extra},
        rows::FloatType,
        safetensors::StoredTensor,
    },
    config::compressed_tensors::{LayerClass, PackFormat, QuantizationConfig},
};

/// Where the bytes of a [`TensorInfo`] are.
#[derive(Debug)]
pub(super) enum Contents {
    Float { at: Located, element: FloatType },
    W8A16(QuantizedLayer),
}

/// The tensors in file order, each with the place of its bytes.
pub(super) fn assemble(
    config: &ModelConfig,
    quantization: Option<&QuantizationConfig>,
    inventory: &mut Inventory,
    files: &WeightFiles,
) -> Result<(Vec<TensorInfo>, Vec<Contents>)> {
    let mut found = Vec::new();
    for expected in expected_tensors(config) {
        found.push(one_tensor(expected, quantization, inventory, files)?);
    }
    refuse_leftovers(config, inventory, files)?;
    found.sort_by_key(|(_, contents)| {
        let first = match contents {
            Contents::Float { at, .. } => at,
            Contents::W8A16(layer) => &layer.values,
        };
        (first.file, first.bytes.start)
    });
    Ok(found.into_iter().unzip())
}

fn one_tensor(
    expected: ExpectedTensor,
    quantization: Option<&QuantizationConfig>,
    inventory: &mut Inventory,
    files: &WeightFiles,
) -> Result<(TensorInfo, Contents)> {
    let class = match expected.kind {
        TensorKind::Linear => Some(LayerClass::Linear),
        TensorKind::Embedding => Some(LayerClass::Embedding),
        TensorKind::Vector => None,
    };
    let module = expected.name.strip_suffix(".weight").unwrap_or(&expected.name);
    let scheme = class.zip(quantization).and_then(|(class, config)| config.scheme_of(module, class));
    if let (Some(scheme), &[n, k]) = (scheme, expected.shape.as_slice()) {
        let layer = quantized_layer(module, (n, k), scheme, inventory, files)?;
        let name_in_file = match scheme.format {
            PackFormat::Packed => format!("{module}.weight_packed"),
            PackFormat::Int8 => expected.name.clone(),
        };
        let info = TensorInfo {
            name: expected.name,
            name_in_file,
            file: files.file(layer.values.file).name.clone(),
            shape: expected.shape,
            dtype: match scheme.group_size {
                Some(group_size) => format!("W8A16 g={group_size}"),
                None => "W8A16 per channel".to_owned(),
            },
            storage: Storage::W8A16 { group_size: scheme.group_size, scales: layer.scale_type },
            bytes: layer.stored_bytes,
        };
        return Ok((info, Contents::W8A16(layer)));
    }
    float_tensor(expected, quantization.is_some(), inventory, files)
}

fn float_tensor(
    expected: ExpectedTensor,
    in_quantized_file: bool,
    inventory: &mut Inventory,
    files: &WeightFiles,
) -> Result<(TensorInfo, Contents)> {
    let Some((at, stored)) = inventory.take(&expected.name) else {
        return Err(missing(&expected, inventory, files));
    };
    let file = files.file(at.file);
    let malformed = |problem| ModelError::malformed(&file.path, &expected.name, problem);
    if stored.shape != expected.shape {
        let problem = format!("has shape {:?}, and config.json asks for {:?}", stored.shape, expected.shape);
        return Err(malformed(problem));
    }
    let element = FloatType::from_dtype(stored.dtype)
        .ok_or_else(|| malformed(format!("is of type {}, and must be F32, F16 or BF16", stored.dtype)))?;
    let info = TensorInfo {
        name_in_file: expected.name.clone(),
        name: expected.name,
        file: file.name.clone(),
        shape: expected.shape,
        dtype: stored.dtype.to_string(),
        storage: match element {
            FloatType::F16 | FloatType::Bf16 if in_quantized_file => Storage::Float16,
            _ => Storage::Float,
        },
        bytes: at.bytes.len() as u64,
    };
    Ok((info, Contents::Float { at, element }))
}

fn missing(expected: &ExpectedTensor, inventory: &Inventory, files: &WeightFiles) -> ModelError {
    let module = expected.name.strip_suffix(".weight").unwrap_or(&expected.name);
    let problem = if inventory.get(&format!("{module}.weight_packed")).is_some() {
        format!(
            "{module}.weight_packed is there, and config.json's quantization_config does not cover {module}"
        )
    } else if expected.name == LM_HEAD {
        "missing, and config.json says that it is not tied to the embedding; \
         set tie_word_embeddings to true if it is"
            .to_owned()
    } else {
        format!("missing; config.json asks for it with shape {:?}", expected.shape)
    };
    ModelError::malformed(files.label(), &expected.name, problem)
}

fn refuse_leftovers(config: &ModelConfig, inventory: &Inventory, files: &WeightFiles) -> Result<()> {
    for (file, tensor) in inventory.unused() {
        if is_harmless_extra(&tensor.name) {
            continue;
        }
        let malformed = |problem| Err(ModelError::malformed(&files.file(file).path, &tensor.name, problem));
        if tensor.name == LM_HEAD && config.tie_word_embeddings {
            let head = Located { file, bytes: tensor.bytes.clone() };
            let alike = |(_, embedding): &(usize, &StoredTensor)| {
                tensor.dtype == embedding.dtype && tensor.shape == embedding.shape
            };
            if let Some((file, embedding)) = inventory.get(EMBEDDING).filter(alike)
                && files.are_equal(&head, &Located { file, bytes: embedding.bytes.clone() })?
            {
                continue;
            }
            return malformed(format!(
                "differs from {EMBEDDING}, and config.json says that they are tied; \
                 set tie_word_embeddings to false to use it"
            ));
        }
        if is_part_of_quantized(&tensor.name) {
            return malformed(
                "is part of a quantised layer that config.json's quantization_config does not cover"
                    .to_owned(),
            );
        }
        return malformed(format!(
            "is not a tensor of a {} model with {} layers",
            config.architecture.model_type(),
            config.num_hidden_layers
        ));
    }
    Ok(())
}
