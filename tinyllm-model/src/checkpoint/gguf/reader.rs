//! An open GGUF: the parsed headers of its file or parts over their mappings.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Metadata,
    cursor::shown,
    header::{self, Header},
    split::Split,
    types::GgmlType,
};
use tinyllm_mem::{MappedFile, MappedRange};

use crate::{ModelError, Result};

/// A GGUF file (or all parts of a split one), opened and checked; tensors are not read yet.
pub struct Gguf {
    path: PathBuf,
    parts: Vec<Part>,
    tensors: Vec<GgufTensor>,
}

/// One file and its metadata.
struct Part {
    file: Arc<MappedFile>,
    header: Header,
}

/// A tensor as the file describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct GgufTensor {
    /// The name in the file.
    pub name: String,
    /// Shape, slowest dimension first (the file has it the other way round).
    pub shape: Vec<usize>,
    /// The type of its elements.
    pub ggml_type: GgmlType,
    /// Which part holds it, from 0.
    pub part: usize,
    /// Where its bytes lie in that part.
    data: std::ops::Range<usize>,
}

impl GgufTensor {
    /// Bytes in the file.
    pub fn len_bytes(&self) -> usize {
        self.data.len()
    }
}

impl Gguf {
    /// Opens a file, or any part of a split model together with its other parts.
    ///
    /// # Errors
    /// Where a file cannot be read, is damaged, or is of a version or tensor type that is not read.
    pub fn open(path: &Path) -> Result<Self> {
        let named = Part::open(path)?;
        let split = Split::of(named.metadata())?;
        let parts = if split.parts == 1 { vec![named] } else { open_parts(path, split)? };
        let tensors = gather_tensors(&parts)?;
        Ok(Gguf { path: path.to_owned(), parts, tensors })
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The metadata; that of the first part where the model is split.
    pub fn metadata(&self) -> Metadata<'_> {
        self.parts[0].metadata()
    }

    /// Every tensor, in file order.
    pub fn tensors(&self) -> &[GgufTensor] {
        &self.tensors
    }

    /// A tensor by its name in the file.
    pub fn tensor(&self, name: &str) -> Option<&GgufTensor> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }

    /// The file that holds a tensor.
    pub fn file(&self, tensor: &GgufTensor) -> &MappedFile {
        &self.parts[tensor.part].file
    }

    /// A tensor's bytes, as they are in the file.
    ///
    /// # Errors
    /// Where the tensor is another file's, and this one has no such bytes.
    pub fn bytes(&self, tensor: &GgufTensor) -> Result<MappedRange> {
        Ok(self.parts[tensor.part].file.range(tensor.data.clone())?)
    }
}

impl Part {
    fn open(path: &Path) -> Result<Self> {
        let file = MappedFile::open(path)?;
        let header = header::parse(&file)?;
        Ok(Part { file, header })
    }

    fn metadata(&self) -> Metadata<'_> {
        Metadata { path: self.file.path(), header: &self.header.bytes, entries: &self.header.entries }
    }
}

fn open_parts(path: &Path, split: Split) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    for (index, path) in (0..).zip(split.paths(path)?) {
        let part = Part::open(&path)?;
        let found = Split::of(part.metadata())?;
        if found != (Split { part: index, ..split }) {
            let problem = format!(
                "is {} of {}, and by its name this file is {index} of {}",
                found.part, found.parts, split.parts
            );
            return Err(part.metadata().malformed("split.no", problem));
        }
        parts.push(part);
    }
    Ok(parts)
}

fn gather_tensors(parts: &[Part]) -> Result<Vec<GgufTensor>> {
    let mut tensors = Vec::new();
    let mut names = HashSet::new();
    for (index, part) in parts.iter().enumerate() {
        for entry in &part.header.tensors {
            if !names.insert(entry.name.as_str()) {
                let problem = "the tensor is in another part too";
                return Err(ModelError::malformed(part.file.path(), shown(&entry.name), problem));
            }
            tensors.push(GgufTensor {
                name: entry.name.clone(),
                shape: entry.shape.clone(),
                ggml_type: entry.ggml_type,
                part: index,
                data: entry.data.clone(),
            });
        }
    }
    let Some(first) = parts.first().map(Part::metadata) else { return Ok(tensors) };
    if let Some(promised) = first.u32("split.tensors.count")?
        && promised as usize != tensors.len()
    {
        let problem = format!("is {promised}, and the parts hold {} tensors", tensors.len());
        return Err(first.malformed("split.tensors.count", problem));
    }
    Ok(tensors)
}
