//! A plan as a table and as JSON.

use std::collections::BTreeMap;

use comfy_table::{CellAlignment, Table, presets::NOTHING};
use serde_json::{Map, Value, json};
use tinyllm_mem::Category;
use tinyllm_model::engine::{
    EnginePlan,
    plan::{DevicePlan, PlannedUsage},
};

use super::Answer;
use crate::output::numbers;

/// The object that `--json` prints.
pub(super) fn json(answer: &Answer) -> Value {
    let plan = &answer.plan;
    let devices = plan.devices().into_iter().map(|device| {
        json!({
            "device": device.device,
            "layers": [device.layers.start, device.layers.end],
            "device_bytes": device.device_bytes,
            "staging_bytes": device.staging_bytes,
            "budget_bytes": device.budget_bytes,
            "categories": categories(&device.categories),
        })
    });
    let devices: Vec<Value> = devices.collect();
    let regions: Vec<Value> = plan
        .slabs()
        .iter()
        .flat_map(|slab| slab.regions.iter().map(move |region| (slab, region)))
        .map(|(slab, region)| {
            json!({
                "device": slab.device, "slab": slab.name, "name": region.name, "category": region.category.name(), "shape": region.shape,
                "dtype": region.dtype, "offset": region.offset, "bytes": region.bytes, "lifetime": region.lifetime,
            })
        })
        .collect();
    json!({
        "model": answer.name,
        "max_seq_len": plan.max_seq_len(),
        "max_batch_size": plan.max_batch_size(),
        "categories": categories(&plan.categories()),
        "devices": devices,
        "total_bytes": plan.total_bytes(),
        "mapped_bytes": plan.mapped_bytes(),
        "arena": {
            "bytes": plan.arena_bytes(),
            "lower_bound_bytes": plan.arena_lower_bound_bytes(),
        },
        "f16_weights_total_bytes": answer.f16_total_bytes,
        "fits": {
            "budget_bytes": answer.budget_bytes,
            "fits": answer.fits(),
            "max_seq_len": answer.largest_context,
            "max_batch_size": answer.largest_batch,
        },
        "regions": regions,
    })
}

fn categories(usage: &BTreeMap<Category, PlannedUsage>) -> Map<String, Value> {
    let value = |usage: &PlannedUsage| json!({"bytes": usage.bytes, "count": usage.count});
    usage.iter().map(|(category, usage)| (category.name().to_owned(), value(usage))).collect()
}

/// The table and the lines below it.
pub(super) fn text(answer: &Answer) -> String {
    let plan = &answer.plan;
    let total = plan.total_bytes();
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(["category", "count", "shape", "dtype", "bytes", "share"]);
    let slabs = plan.slabs();
    for (category, usage) in plan.categories() {
        let regions: Vec<_> = slabs
            .iter()
            .flat_map(|slab| &slab.regions)
            .filter(|region| region.category == category)
            .collect();
        let shape = |shape: &[usize]| shape.iter().map(usize::to_string).collect::<Vec<_>>().join(" × ");
        let (mut shapes, mut types) = (String::new(), String::new());
        if let Some(first) = regions.first().filter(|_| category != Category::Padding) {
            let same = |is_equal: bool, text: String| if is_equal { text } else { "various".into() };
            shapes = same(regions.iter().all(|region| region.shape == first.shape), shape(&first.shape));
            types = same(regions.iter().all(|region| region.dtype == first.dtype), first.dtype.into());
        }
        table.add_row([
            category.name().to_owned(),
            usage.count.to_string(),
            shapes,
            types,
            grouped(usage.bytes),
            format!("{:.2} %", 100.0 * usage.bytes as f64 / total as f64),
        ]);
    }
    table.add_row(["total", "", "", "", &grouped(total), ""]);
    for column in [1, 4, 5] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = format!(
        "{}: {} tokens of context, batch of {}\n\n{table}\n\narena: {} bytes, {:.4} of the lower bound\n",
        answer.name,
        plan.max_seq_len(),
        plan.max_batch_size(),
        grouped(plan.arena_bytes()),
        plan.arena_bytes() as f64 / plan.arena_lower_bound_bytes().max(1) as f64,
    );
    text.push_str(&match answer.f16_total_bytes {
        Some(bytes) => format!("with f16 weights: {} bytes\n", grouped(bytes)),
        None => "with f16 weights: no room for the layers\n".into(),
    });
    if let Some(table) = devices(plan) {
        text.push_str(&format!("\n{table}\n\n"));
    }
    if plan.mapped_bytes() > 0 {
        text.push_str(&format!(
            "mapped from the file, in addition: {} bytes\n",
            grouped(plan.mapped_bytes())
        ));
    }
    for (category, budget, missing) in answer.category_budgets() {
        let verdict = match missing {
            0 => "fits".to_owned(),
            missing => format!("does not fit, {} bytes are missing", grouped(missing)),
        };
        text.push_str(&format!("budget of {} bytes for {}: {verdict}\n", grouped(budget), category.name()));
    }
    if let Some(budget) = answer.budget_bytes {
        let verdict = if total <= budget {
            format!("fits, {} bytes are left", grouped(budget - total))
        } else {
            format!("does not fit, {} bytes are missing", grouped(total - budget))
        };
        let most = |what: Option<usize>| what.map_or_else(|| "none".into(), |most| most.to_string());
        let is_own = answer.largest_context == Some(answer.longest_context);
        text.push_str(&format!(
            "budget of {} bytes: {verdict}; largest context {}{}, largest batch {}\n",
            grouped(budget),
            most(answer.largest_context),
            if is_own { " (the model's own)" } else { "" },
            most(answer.largest_batch),
        ));
    }
    text
}

/// A column for each device: its layers, and what it takes by category. `None` for the processor alone.
fn devices(plan: &EnginePlan) -> Option<Table> {
    let devices = plan.devices();
    if devices.iter().all(|device| device.device == "cpu") {
        return None;
    }
    let mut table = Table::new();
    let cells = |first: &str, cell: &dyn Fn(&DevicePlan) -> String| {
        std::iter::once(first.to_owned()).chain(devices.iter().map(cell)).collect::<Vec<_>>()
    };
    table.load_preset(NOTHING).set_header(cells("bytes by device", &|device| device.device.clone()));
    table.add_row(cells("layers", &|device| match device.layers.len() {
        1 => device.layers.start.to_string(),
        _ => format!("{} to {}", device.layers.start, device.layers.end - 1),
    }));
    for category in Category::ALL {
        let bytes = |device: &DevicePlan| device.categories.get(&category).map_or(0, |usage| usage.bytes);
        if devices.iter().any(|device| bytes(device) > 0) {
            table.add_row(cells(category.name(), &|device| grouped(bytes(device))));
        }
    }
    table.add_row(cells("on the device", &|device| grouped(device.device_bytes)));
    table.add_row(cells("page-locked", &|device| grouped(device.staging_bytes)));
    table.add_row(cells("may take", &|device| device.budget_bytes.map_or_else(String::new, grouped)));
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    Some(table)
}

fn grouped(bytes: usize) -> String {
    numbers::grouped(bytes as u64)
}
