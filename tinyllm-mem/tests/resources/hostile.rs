//! Malformed requests, logs and regions: a typed error, and nothing counted.

use std::{
    io::{BufReader, Read},
    sync::Arc,
};

use tinyllm_mem::{
    Budget, Buffer, Category, HostMemory, HostResource, Limiting, MAX_ALIGN_BYTES, MemError, MemoryResource,
    Part, Plan, Region, Request, Stream, Tracking, replay,
};

/// Parts that are less than the whole, more, and more than there are numbers for.
fn wrong_parts() -> impl Iterator<Item = Request> {
    let sizes: [&[usize]; 5] = [&[], &[63], &[64, 1], &[usize::MAX, 65], &[usize::MAX, usize::MAX, 66]];
    sizes.into_iter().map(|sizes| {
        let parts = sizes.iter().map(|bytes| Part::new(Category::Kv, "part", *bytes)).collect();
        let mut request = Request::new(Category::Kv, "whole", 64, 64);
        request.parts = parts;
        request
    })
}

#[test]
fn parts_that_are_not_the_whole_are_refused_and_not_counted() {
    let is_bad = |error: MemError| matches!(error, MemError::BadSize { bytes: 64, .. });
    for request in wrong_parts() {
        let host = HostResource::shared();
        let tracking = Tracking::new(host.clone());
        assert!(is_bad(tracking.allocate(&request).unwrap_err()), "{request:?}");
        assert_eq!(tracking.report(), Tracking::new(host.clone()).report());
        let limiting = Limiting::new(host.clone(), Budget::total(1000).with(Category::Kv, 1000));
        assert!(is_bad(limiting.allocate(&request).unwrap_err()), "{request:?}");
        assert_eq!(limiting.used_bytes(), 0);
        assert!(is_bad(Buffer::<u8>::allocate(&host, request).unwrap_err()));
    }
}

#[test]
fn a_slab_larger_than_any_number_is_refused() {
    let part = || Part::new(Category::Weights, "half", usize::MAX / 2 + 1);
    let request = Request::slab("slab", vec![part(), part()], 64);
    let error = Buffer::<u8>::allocate(&HostResource::shared(), request).unwrap_err();
    assert!(matches!(error, MemError::BadSize { .. }), "{error}");
}

#[test]
fn a_log_that_contradicts_itself_is_refused_by_its_line() {
    let line = |id: &str, bytes: &str, align: &str, parts: &str| {
        format!(
            "{{\"call\":\"allocate\",\"id\":{id},\"name\":\"x\",\"bytes\":{bytes},\"align_bytes\":{align},\"stream\":0,\
             \"parts\":{parts}}}\n"
        )
    };
    let good = line("0", "8", "8", "[[\"kv\",\"x\",8]]");
    let max = usize::MAX;
    let wrong = [
        line("1", "8", "8", "[[\"kv\",\"x\",9]]"),
        line("1", "8", "8", &format!("[[\"kv\",\"x\",{max}],[\"kv\",\"y\",9]]")),
        line("0", "8", "8", "[[\"kv\",\"x\",8]]"),
        line("1", "-1", "8", "[]"),
        line("1", "8", "8", "[[\"\",\"x\",8]]"),
        line("18446744073709551616", "8", "8", "[[\"kv\",\"x\",8]]"),
        "{\"call\":\"deallocate\",\"id\":0,\"stream\":0}\n".repeat(2),
        "\u{0}\n".into(),
    ];
    let tracking = Arc::new(Tracking::new(HostResource::shared()));
    let memory: HostMemory = tracking.clone();
    for wrong in wrong {
        let log = format!("{good}{wrong}");
        let error = replay(log.as_bytes(), &memory, |_| Stream::DEFAULT).unwrap_err();
        assert!(matches!(error, MemError::Log { line: 2 | 3, .. }), "{error}");
        assert_eq!(tracking.report().total.live_bytes, 0, "{wrong}");
    }
    // A well-formed request that cannot be met is the resource's own error.
    let zero = line("1", "8", "0", "[[\"kv\",\"x\",8]]");
    let large = line("1", &max.to_string(), "8", &format!("[[\"kv\",\"x\",{max}]]"));
    for (line, what) in [(zero, "alignment"), (large, "size")] {
        let error = replay(format!("{good}{line}").as_bytes(), &memory, |_| Stream::DEFAULT).unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
        assert_eq!(tracking.report().total.live_bytes, 0);
    }
}

#[test]
fn a_line_without_an_end_is_not_read_to_it() {
    let endless = BufReader::new(std::io::repeat(b' ').take(1 << 40));
    let error = replay(endless, &HostResource::shared(), |_| Stream::DEFAULT).unwrap_err();
    assert!(matches!(error, MemError::Log { line: 1, .. }), "{error}");
}

#[test]
fn regions_that_cannot_be_are_refused() {
    let region =
        |bytes, align_bytes, lifetime| Region::new("r", Category::Activations, bytes, align_bytes, lifetime);
    let good = region(64, 64, (0, usize::MAX));
    for align_bytes in [0, 3, 96, 2 * MAX_ALIGN_BYTES, usize::MAX] {
        let error = Plan::pack(vec![good.clone(), region(64, align_bytes, (0, 1))]).unwrap_err();
        assert!(matches!(error, MemError::BadAlignment { .. }), "{error}");
    }
    for lifetime in [(1, 0), (usize::MAX, 0)] {
        let error = Plan::pack(vec![good.clone(), region(64, 64, lifetime)]).unwrap_err();
        let (first, last) = lifetime;
        assert!(matches!(error, MemError::BadLifetime { first: f, last: l, .. } if (f, l) == (first, last)));
    }
    for bytes in [usize::MAX, usize::MAX - 63] {
        let error = Plan::pack(vec![good.clone(), region(bytes, 64, (0, 0))]).unwrap_err();
        assert!(matches!(error, MemError::BadSize { .. }), "{error}");
    }
    // Regions that never live at once may be as large as there are numbers.
    let apart = vec![region(usize::MAX, 1, (0, 0)), region(usize::MAX, 1, (1, usize::MAX))];
    assert_eq!(Plan::pack(apart).unwrap().total_bytes(), usize::MAX);
    assert_eq!(Plan::pack(vec![good]).unwrap().total_bytes(), 64);
    assert_eq!(Plan::pack(vec![]).unwrap().total_bytes(), 0);
}
