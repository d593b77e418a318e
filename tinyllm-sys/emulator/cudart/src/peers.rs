//! Several devices: copies from one to another, and what one sees of another's memory.

use std::ffi::c_int;

use crate::{
    contexts::{of_device, on_device},
    driver::driver,
    export::exports,
    outcome::place,
    streams::Stream,
};

exports! {
    cudaMemcpyPeer(dst: u64, dst_device: c_int, src: u64, src_device: c_int, bytes: usize) {
        let driver = on_device()?;
        let [to, from] = [dst_device, src_device].map(|device| of_device(driver, device));
        // SAFETY: contexts of this driver; memory that is not there it refuses.
        unsafe { driver.memcpy_peer(dst, to?, src, from?, bytes) }
    }
    cudaMemcpyPeerAsync(
        dst: u64,
        dst_device: c_int,
        src: u64,
        src_device: c_int,
        bytes: usize,
        stream: Stream
    ) {
        let driver = on_device()?;
        let [to, from] = [dst_device, src_device].map(|device| of_device(driver, device));
        // SAFETY: as above.
        unsafe { driver.memcpy_peer_async(dst, to?, src, from?, bytes, stream) }
    }
    cudaDeviceCanAccessPeer(can: *mut c_int, device: c_int, peer: c_int) {
        // SAFETY: the caller gives room for one number.
        unsafe { driver()?.device_can_access_peer(place(can)?, device, peer) }
    }
    cudaDeviceGetP2PAttribute(value: *mut c_int, attribute: c_int, device: c_int, peer: c_int) {
        // SAFETY: as above.
        unsafe { driver()?.device_get_p2p_attribute(place(value)?, attribute, device, peer) }
    }
    cudaDeviceEnablePeerAccess(peer: c_int, flags: u32) {
        let driver = on_device()?;
        // SAFETY: a context of this driver.
        unsafe { driver.ctx_enable_peer_access(of_device(driver, peer)?, flags) }
    }
    cudaDeviceDisablePeerAccess(peer: c_int) {
        let driver = on_device()?;
        // SAFETY: as above.
        unsafe { driver.ctx_disable_peer_access(of_device(driver, peer)?) }
    }
}
