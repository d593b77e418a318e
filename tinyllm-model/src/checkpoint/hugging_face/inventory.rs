//! The tensors of all weight files by name, and which of them are used.

use std::collections::HashMap;

use super::files::{Located, ShardIndex, WeightFiles};
use crate::{
    ModelError, Result,
    checkpoint::safetensors::{StoredTensor, read_safetensors_header},
};

/// Every stored tensor of a model.
pub(super) struct Inventory {
    tensors: Vec<(usize, StoredTensor)>,
    by_name: HashMap<String, usize>,
    used: Vec<bool>,
}

impl Inventory {
    /// Reads the headers of all files.
    pub(super) fn of(files: &WeightFiles) -> Result<Self> {
        let mut inventory = Inventory { tensors: Vec::new(), by_name: HashMap::new(), used: Vec::new() };
        for (file_index, file) in files.iter().enumerate() {
            for tensor in read_safetensors_header(&file.mapping)? {
                let position = inventory.tensors.len();
                if let Some(&earlier) = inventory.by_name.get(&tensor.name) {
                    let other = &files.file(inventory.tensors[earlier].0).name;
                    return Err(ModelError::malformed(
                        &file.path,
                        tensor.name,
                        format!("is also in {other}"),
                    ));
                }
                inventory.by_name.insert(tensor.name.clone(), position);
                inventory.tensors.push((file_index, tensor));
            }
        }
        inventory.used = vec![false; inventory.tensors.len()];
        Ok(inventory)
    }

    /// Checks that each tensor of an index is where the index says.
    pub(super) fn check_index(&self, index: &ShardIndex, files: &WeightFiles) -> Result<()> {
        for (name, file) in &index.entries {
            if self.get(name).is_none_or(|(holder, _)| holder != *file) {
                let problem = format!("is not in {}, where the index puts it", files.file(*file).name);
                return Err(ModelError::malformed(&index.path, name, problem));
            }
        }
        Ok(())
    }

    /// A tensor and the index of its file.
    pub(super) fn get(&self, name: &str) -> Option<(usize, &StoredTensor)> {
        let (file, tensor) = &self.tensors[*self.by_name.get(name)?];
        Some((*file, tensor))
    }

    /// Where a tensor is, marked as used.
    pub(super) fn take(&mut self, name: &str) -> Option<(Located, StoredTensor)> {
        let position = *self.by_name.get(name)?;
        self.used[position] = true;
        let (file, tensor) = &self.tensors[position];
        Some((Located { file: *file, bytes: tensor.bytes.clone() }, tensor.clone()))
    }

    /// Unused tensors, in file order.
    pub(super) fn unused(&self) -> impl Iterator<Item = (usize, &StoredTensor)> {
        let pairs = self.tensors.iter().zip(&self.used).filter(|(_, used)| !**used);
        pairs.map(|((file, tensor), _)| (*file, tensor))
    }
}
