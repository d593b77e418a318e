//! Options that several verbs share: loading, parsing of values, shell completion, and hints after a mistake.

pub(crate) mod completion;
mod load;
pub(crate) mod misuse;
mod values;

pub(crate) use self::{
    load::LoadOptions,
    values::{TokenIds, byte_size, group_size, token_ids},
};
