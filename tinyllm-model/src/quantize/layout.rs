//! Where each tensor lies in model.safetensors: data begins at a multiple of 64, tensors in order of falling alignment.

use std::collections::HashMap;

use serde_json::{Map, Value, json};
use tinyllm_kernels::GroupSize;

use crate::checkpoint::expected::{ExpectedTensor, LM_HEAD, TensorKind};

/// Data begins at a multiple of this.
const ALIGN_BYTES: usize = 64;

/// The group of a tensor that is quantised.
pub(super) fn group_size_of(tensor: &ExpectedTensor, group_size: GroupSize) -> Option<usize> {
    let linear = tensor.kind == TensorKind::Linear || tensor.name == LM_HEAD;
    linear.then(|| group_size.elements(tensor.shape[1]))
}

/// Offsets of a tensor's parts from the start of the data.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry {
    pub(super) values: u64,
    pub(super) scales: u64,
    pub(super) shape: u64,
}

pub(super) struct Layout {
    entries: HashMap<String, Entry>,
    header: Map<String, Value>,
    data_bytes: u64,
}

impl Layout {
    pub(super) fn of(tensors: &[ExpectedTensor], group_size: GroupSize) -> Self {
        let mut layout = Layout { entries: HashMap::new(), header: Map::new(), data_bytes: 0 };
        layout.header.insert("__metadata__".into(), json!({"format": "pt"}));
        let quantized = || tensors.iter().filter_map(|t| Some((t, group_size_of(t, group_size)?)));
        let module = |tensor: &ExpectedTensor| tensor.name.trim_end_matches(".weight").to_owned();
        for (tensor, _) in quantized() {
            let shape = [tensor.shape[0], tensor.shape[1].div_ceil(4)];
            let at = layout.add(format!("{}.weight_packed", module(tensor)), "I32", &shape, 4);
            layout.entries.entry(tensor.name.clone()).or_default().values = at;
        }
        for tensor in tensors.iter().filter(|tensor| group_size_of(tensor, group_size).is_none()) {
            let at = layout.add(tensor.name.clone(), "F16", &tensor.shape, 2);
            layout.entries.entry(tensor.name.clone()).or_default().values = at;
        }
        for (tensor, group) in quantized() {
            let shape = [tensor.shape[0], tensor.shape[1].div_ceil(group)];
            let at = layout.add(format!("{}.weight_scale", module(tensor)), "F16", &shape, 2);
            layout.entries.entry(tensor.name.clone()).or_default().scales = at;
        }
        for (tensor, _) in quantized() {
            let at = layout.add(format!("{}.weight_shape", module(tensor)), "I64", &[2], 8);
            layout.entries.entry(tensor.name.clone()).or_default().shape = at;
        }
        layout
    }

    fn add(&mut self, name: String, dtype: &str, shape: &[usize], element_bytes: u64) -> u64 {
        let start = self.data_bytes;
        self.data_bytes += shape.iter().map(|size| *size as u64).product::<u64>() * element_bytes;
        let offsets = [start, self.data_bytes];
        self.header.insert(name, json!({"dtype": dtype, "shape": shape, "data_offsets": offsets}));
        start
    }

    pub(super) fn entry(&self, name: &str) -> Entry {
        self.entries.get(name).copied().unwrap_or_default()
    }

    /// The length of the JSON, then the JSON, padded with spaces.
    pub(super) fn header(&self) -> Vec<u8> {
        let json = Value::Object(self.header.clone()).to_string();
        let padded = (json.len() + 8).next_multiple_of(ALIGN_BYTES) - 8;
        let mut bytes = (padded as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(json.as_bytes());
        bytes.resize(padded + 8, b' ');
        bytes
    }

    /// Where the data begins in the file.
    pub(super) fn data_start(&self) -> u64 {
        self.header().len() as u64
    }

    pub(super) fn file_bytes(&self) -> u64 {
        self.data_start() + self.data_bytes
    }
}
