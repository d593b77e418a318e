//! Programs with one mistake each: it is found, and nothing else is.

mod initcheck;
mod leak;
mod memcheck;
mod racecheck;
mod staging;
mod stream;
mod synccheck;
