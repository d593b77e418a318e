//! A plan as an SVG drawing: the slabs to one scale, and below them the activation arena, address over operation.
//! Hovering over a rectangle names it.

use std::fmt::Write;

use tinyllm_mem::Category;
use tinyllm_model::engine::{
    EnginePlan,
    plan::{PlannedRegion, PlannedUsage, Slab},
};

use crate::output::svg::{document, escape, text};

const WIDTH: f64 = 1100.0;
const MARGIN: f64 = 20.0;
const BAR_HEIGHT: f64 = 44.0;
const ARENA_HEIGHT: f64 = 380.0;

/// The page: the drawing alone, scaled to the window.
pub(super) fn html(name: &str, plan: &EnginePlan) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Memory plan of {0}</title>\
         <style>body{{margin:0;font-family:sans-serif;background:#fff}}svg{{width:100%;height:auto}}\
         rect:hover{{stroke:#000;stroke-width:1.5}}</style></head><body>\n{1}</body></html>\n",
        escape(name),
        svg(name, plan)
    )
}

/// The drawing.
pub(super) fn svg(name: &str, plan: &EnginePlan) -> String {
    let slabs = plan.slabs();
    let largest = slabs.iter().map(|slab| slab.bytes).max().unwrap_or(1).max(1);
    let mut body = String::new();
    let title = format!(
        "{name}: {} in all, {} tokens of context, batch of {}",
        size(plan.total_bytes()),
        plan.max_seq_len(),
        plan.max_batch_size()
    );
    text(&mut body, MARGIN, 30.0, 17, &title);
    let mut y = legend(&mut body, plan, 56.0);
    for slab in &slabs {
        let title = format!("{}{}: {}", of_device(plan, slab), slab.name, size(slab.bytes));
        text(&mut body, MARGIN, y + 14.0, 13, &title);
        bar(&mut body, slab, y + 20.0, (WIDTH - 2.0 * MARGIN) / largest as f64);
        y += BAR_HEIGHT + 34.0;
    }
    for arena in slabs.iter().filter(|slab| slab.name == "activations") {
        let title = format!(
            "{}the activation arena over time: {} high, {:.2} of the lower bound; operations from left to right",
            of_device(plan, arena),
            size(arena.bytes),
            arena.bytes as f64 / arena.lower_bound_bytes.max(1) as f64
        );
        text(&mut body, MARGIN, y + 14.0, 13, &title);
        timeline(&mut body, arena, y + 24.0);
        y += ARENA_HEIGHT + 44.0;
        let kinds = kinds(arena).into_iter().map(|kind| (kind.to_owned(), kind_color(kind)));
        y = key(&mut body, kinds, y);
    }
    document(WIDTH, y + 10.0, &body)
}

/// The device of a slab, where there is more than one.
fn of_device(plan: &EnginePlan, slab: &Slab) -> String {
    let is_split = plan.devices().len() > 1;
    slab.device.as_ref().filter(|_| is_split).map_or_else(String::new, |device| format!("{device}: "))
}

fn legend(body: &mut String, plan: &EnginePlan, y: f64) -> f64 {
    let label = |(category, usage): (Category, PlannedUsage)| {
        (format!("{} {}", category.name(), size(usage.bytes)), color(category))
    };
    key(body, plan.categories().into_iter().map(label), y)
}

/// Labels with their colours, side by side; where the next line begins.
fn key(body: &mut String, labels: impl Iterator<Item = (String, &'static str)>, y: f64) -> f64 {
    let (mut x, mut y) = (MARGIN, y);
    for (label, color) in labels {
        let width = 24.0 + 6.6 * label.len() as f64;
        if x + width > WIDTH - MARGIN {
            (x, y) = (MARGIN, y + 20.0);
        }
        let _ = writeln!(
            body,
            "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"12\" height=\"12\" fill=\"{color}\"/>",
            y - 10.0
        );
        text(body, x + 17.0, y, 12, &label);
        x += width + 10.0;
    }
    y + 18.0
}

/// A slab from left to right, as many bytes as each region has. Neighbours of one category are one rectangle where they
/// are too thin to be seen.
fn bar(body: &mut String, slab: &Slab, y: f64, scale: f64) {
    let mut regions = slab.regions.iter().peekable();
    if slab.name == "activations" {
        // Regions of the arena share bytes: the bar shows its size, the timeline below its contents.
        rectangle(
            body,
            (MARGIN, y),
            (slab.bytes as f64 * scale, BAR_HEIGHT),
            color(Category::Activations),
            "activations",
        );
        return;
    }
    let mut x = MARGIN;
    while let Some(first) = regions.next() {
        let (mut bytes, mut count) = (first.bytes, 1);
        while (bytes as f64) * scale < 1.5
            && let Some(next) = regions.next_if(|next| next.category == first.category)
        {
            bytes += next.bytes;
            count += 1;
        }
        let label = match count {
            1 => label(first),
            _ => format!("{} and {} more: {}", first.name, count - 1, size(bytes)),
        };
        let width = bytes as f64 * scale;
        rectangle(body, (x, y), (width, BAR_HEIGHT), color(first.category), &label);
        x += width;
    }
}

/// The arena: x is the operation, y the address, from the bottom.
fn timeline(body: &mut String, arena: &Slab, top: f64) {
    let last =
        arena.regions.iter().filter_map(|region| region.lifetime).map(|life| life.1).max().unwrap_or(0);
    let step = (WIDTH - 2.0 * MARGIN) / (last + 1) as f64;
    let scale = ARENA_HEIGHT / arena.bytes.max(1) as f64;
    let _ = writeln!(
        body,
        "<rect x=\"{MARGIN}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{ARENA_HEIGHT}\" fill=\"#f4f4f4\"/>",
        WIDTH - 2.0 * MARGIN
    );
    for region in &arena.regions {
        let (Some((first, end)), Some(offset)) = (region.lifetime, region.offset) else { continue };
        let height = region.bytes as f64 * scale;
        let y = top + ARENA_HEIGHT - (offset as f64 * scale + height);
        let text = format!("{}, operations {first} to {end}", label(region));
        let place = (MARGIN + first as f64 * step, y);
        rectangle(
            body,
            place,
            ((end - first + 1) as f64 * step, height),
            kind_color(kind(&region.name)),
            &text,
        );
    }
}

fn rectangle(body: &mut String, (x, y): (f64, f64), (width, height): (f64, f64), fill: &str, title: &str) {
    let _ = writeln!(
        body,
        "<rect x=\"{x:.2}\" y=\"{y:.2}\" width=\"{width:.2}\" height=\"{height:.2}\" fill=\"{fill}\" stroke=\"#ffffff\" \
         stroke-width=\"0.4\"><title>{}</title></rect>",
        escape(title)
    );
}

fn label(region: &PlannedRegion) -> String {
    let shape: Vec<String> = region.shape.iter().map(usize::to_string).collect();
    format!(
        "{} ({}), [{}] {}, {}",
        region.name,
        region.category.name(),
        shape.join(", "),
        region.dtype,
        size(region.bytes)
    )
}

/// What a region of the arena is, whichever layer it is of.
fn kind(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// The kinds of an arena's regions, in order of their first use.
fn kinds(arena: &Slab) -> Vec<&str> {
    let mut kinds: Vec<&str> = Vec::new();
    for region in &arena.regions {
        if !kinds.contains(&kind(&region.name)) {
            kinds.push(kind(&region.name));
        }
    }
    kinds
}

fn kind_color(kind: &str) -> &'static str {
    match kind {
        "residual" | "residual_sampled" => "#ccbb44",
        "normed" | "normed_converted" => "#44aa99",
        "q" => "#332288",
        "k" => "#6655bb",
        "v" => "#9988dd",
        "attended" => "#88ccee",
        "gated" => "#cc6677",
        "rotary_table" => "#117733",
        "workspace" => color(Category::Workspace),
        "logits" => color(Category::Logits),
        _ => "#bbbbbb",
    }
}

fn color(category: Category) -> &'static str {
    match category {
        Category::Weights => "#4477aa",
        Category::Scales => "#88bbdd",
        Category::Embeddings => "#228833",
        Category::Norms => "#aa3377",
        Category::Kv => "#ee8866",
        Category::Slots => "#ddaa33",
        Category::Activations => "#ccbb44",
        Category::Workspace => "#999933",
        Category::Logits => "#ee6677",
        _ => "#bbbbbb",
    }
}

fn size(bytes: usize) -> String {
    let bytes = bytes as f64;
    for (unit, factor) in [("GiB", 1_073_741_824.0), ("MiB", 1_048_576.0), ("KiB", 1024.0)] {
        if bytes >= factor {
            return format!("{:.2} {unit}", bytes / factor);
        }
    }
    format!("{bytes} B")
}
