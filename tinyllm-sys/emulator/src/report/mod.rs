//! What the checks found, as data, as text and as JSON.

mod finding;
mod text;

pub use finding::{Access, Call, Finding, Kind, MemorySpace, Other, Place, Relation, Site, Thread, Used};
