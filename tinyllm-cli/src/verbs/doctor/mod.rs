//! `doctor`: what this machine offers, in one screen.

mod cuda;

use clap::Args;
use serde_json::json;
use tinyllm_kernels::Isa;
use tinyllm_mem::{HostResource, MemoryResource};

use self::cuda::Cuda;
use crate::output;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let isa = Isa::from_environment()?;
    let available: Vec<&str> = Isa::ALL.into_iter().filter(|isa| isa.is_available()).map(Isa::name).collect();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = HostResource::default().memory_info();
    let cuda = Cuda::find();
    if arguments.json {
        return output::print_json(&json!({
            "isa": isa.name(), "isa_available": available, "cores": cores,
            "memory_total_bytes": memory.map(|memory| memory.total_bytes),
            "memory_free_bytes": memory.map(|memory| memory.free_bytes),
            "cuda_driver": cuda.has_library(),
            "cuda": cuda.json(),
        }));
    }
    let gib = |bytes: u64| bytes as f64 / (1u64 << 30) as f64;
    let mut text = format!("instructions  {isa} (of {})\ncores         {cores}\n", available.join(", "));
    if let Some(memory) = memory {
        text.push_str(&format!(
            "memory        {:.1} GiB free of {:.1} GiB\n",
            gib(memory.free_bytes),
            gib(memory.total_bytes)
        ));
    }
    text.push_str(&cuda.text());
    output::print(&text)
}
