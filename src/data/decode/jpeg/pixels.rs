//! From coefficients to pixels, with libjpeg's arithmetic: its accurate integer transform, its "fancy" upsampling of
//! halved components, its conversion of colours.

use super::markers::{Colour, Frame};
use super::scans::Blocks;

/// The samples of one component, a byte each.
pub(super) struct Plane {
    pub(super) samples: Vec<u8>,
    /// Bytes from row to row.
    pub(super) stride: usize,
    /// Samples that are in the picture.
    pub(super) width: usize,
    pub(super) height: usize,
}

impl Plane {
    fn row(&self, row: usize) -> &[u8] {
        &self.samples[row.min(self.height - 1) * self.stride..][..self.width]
    }
}

/// Values of a block, row by row.
type Values = [[i32; 8]; 8];

/// Eight columns through the inverse transform (Loeffler, Ligtenberg and Moschytz, 1989), scaled by √8, with 13 bits of
/// fraction of which the lowest `bits` go. One loop over columns, of plain arithmetic that wraps: compilers make it
/// one of wide registers.
#[inline(always)]
fn transform(x: &Values, out: &mut Values, bits: u32) {
    for c in 0..8 {
        let by = |value: i32, factor: i32| value.wrapping_mul(factor);
        let add = |a: i32, b: i32| a.wrapping_add(b);
        let sub = |a: i32, b: i32| a.wrapping_sub(b);
        let even = by(add(x[2][c], x[6][c]), 4433);
        let (t2, t3) = (sub(even, by(x[6][c], 15137)), add(even, by(x[2][c], 6270)));
        let (t0, t1) = (by(add(x[0][c], x[4][c]), 1 << 13), by(sub(x[0][c], x[4][c]), 1 << 13));
        let (z1, z2) = (by(add(x[7][c], x[1][c]), -7373), by(add(x[5][c], x[3][c]), -20995));
        let (s3, s4) = (add(x[7][c], x[3][c]), add(x[5][c], x[1][c]));
        let both = by(add(s3, s4), 9633);
        let (z3, z4) = (add(by(s3, -16069), both), add(by(s4, -3196), both));
        let half = 1 << (bits - 1);
        let (e0, e1) = (add(add(t0, t3), half), add(add(t1, t2), half));
        let (e2, e3) = (add(sub(t1, t2), half), add(sub(t0, t3), half));
        let o0 = add(by(x[1][c], 12299), add(z1, z4));
        let o1 = add(by(x[3][c], 25172), add(z2, z3));
        let o2 = add(by(x[5][c], 16819), add(z2, z4));
        let o3 = add(by(x[7][c], 2446), add(z1, z3));
        out[0][c] = add(e0, o0) >> bits;
        out[1][c] = add(e1, o1) >> bits;
        out[2][c] = add(e2, o2) >> bits;
        out[3][c] = add(e3, o3) >> bits;
        out[4][c] = sub(e3, o3) >> bits;
        out[5][c] = sub(e2, o2) >> bits;
        out[6][c] = sub(e1, o1) >> bits;
        out[7][c] = sub(e0, o0) >> bits;
    }
}

/// Exchanges rows and columns.
#[inline(always)]
fn transpose(values: &Values, out: &mut Values) {
    for row in 0..8 {
        for column in 0..8 {
            out[column][row] = values[row][column];
        }
    }
}

/// The same by shuffles of 256-bit registers, which compilers do not find.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[inline]
fn transpose_avx2(values: &Values, out: &mut Values) {
    use std::arch::x86_64::{
        __m256i, _mm256_permute2x128_si256, _mm256_unpackhi_epi32, _mm256_unpackhi_epi64, _mm256_unpacklo_epi32,
        _mm256_unpacklo_epi64,
    };
    let r: [__m256i; 8] = bytemuck::cast(*values);
    let (low, high) = (_mm256_unpacklo_epi32, _mm256_unpackhi_epi32);
    // Pairs of rows, then fours: each holds a column of four rows in either half.
    let (a0, a1, a2, a3) = (low(r[0], r[1]), high(r[0], r[1]), low(r[2], r[3]), high(r[2], r[3]));
    let (b0, b1, b2, b3) = (low(r[4], r[5]), high(r[4], r[5]), low(r[6], r[7]), high(r[6], r[7]));
    let (low, high) = (_mm256_unpacklo_epi64, _mm256_unpackhi_epi64);
    let upper = [low(a0, a2), high(a0, a2), low(a1, a3), high(a1, a3)];
    let lower = [low(b0, b2), high(b0, b2), low(b1, b3), high(b1, b3)];
    let mut columns = r;
    for at in 0..4 {
        columns[at] = _mm256_permute2x128_si256::<0x20>(upper[at], lower[at]);
        columns[at + 4] = _mm256_permute2x128_si256::<0x31>(upper[at], lower[at]);
    }
    *out = bytemuck::cast(columns);
}

/// Writes the 8×8 samples of a block's coefficients, which stand row by row.
#[inline(always)]
fn block(
    coefficients: &[i16; 64],
    quantisation: &[i32; 64],
    out: &mut [u8],
    stride: usize,
    transpose: impl Fn(&Values, &mut Values),
) {
    let (rows, steps) = (coefficients.as_chunks::<8>().0, quantisation.as_chunks::<8>().0);
    if rows[1..].iter().all(|row| *row == [0; 8]) && rows[0][1..] == [0; 7] {
        let value = i32::from(coefficients[0]) * quantisation[0];
        let sample = (value.wrapping_add(4) >> 3).saturating_add(128).clamp(0, 255) as u8;
        out.chunks_mut(stride).take(8).for_each(|row| row[..8].fill(sample));
        return;
    }
    let (mut a, mut b) = ([[0; 8]; 8], [[0; 8]; 8]);
    for (values, (row, steps)) in a.iter_mut().zip(rows.iter().zip(steps)) {
        for (value, (&coefficient, &step)) in values.iter_mut().zip(row.iter().zip(steps)) {
            *value = i32::from(coefficient).wrapping_mul(step);
        }
    }
    transform(&a, &mut b, 11);
    transpose(&b, &mut a);
    transform(&a, &mut b, 18);
    transpose(&b, &mut a);
    for (row, out) in a.iter().zip(out.chunks_mut(stride)) {
        let out = out.first_chunk_mut::<8>().expect("a block has eight columns");
        for (out, value) in out.iter_mut().zip(row) {
            *out = value.wrapping_add(128).clamp(0, 255) as u8;
        }
    }
}

/// The picture of all its coefficients: one value a pixel if it is grey, else three.
pub(super) fn render(frame: &Frame, blocks: Vec<Blocks>, colour: Colour) -> Vec<u8> {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        /// The same, compiled for wider registers.
        #[target_feature(enable = "avx2")]
        fn with_avx2(frame: &Frame, blocks: Vec<Blocks>, colour: Colour) -> Vec<u8> {
            rendered(frame, blocks, colour, |values, out| transpose_avx2(values, out))
        }
        // SAFETY: the processor has AVX2.
        return unsafe { with_avx2(frame, blocks, colour) };
    }
    rendered(frame, blocks, colour, transpose)
}

#[inline(always)]
fn rendered(
    frame: &Frame,
    blocks: Vec<Blocks>,
    colour: Colour,
    transpose: impl Fn(&Values, &mut Values) + Copy,
) -> Vec<u8> {
    let mut planes = Vec::new();
    for (part, blocks) in frame.components.iter().zip(blocks) {
        planes.push(plane(frame.samples(part), &blocks, transpose));
    }
    picture(frame, &planes, colour)
}

#[inline(always)]
fn plane((width, height): (usize, usize), blocks: &Blocks, transpose: impl Fn(&Values, &mut Values) + Copy) -> Plane {
    let stride = blocks.stride * 8;
    let mut samples = vec![0; blocks.coefficients.len() * 64];
    let quantisation = blocks.quantisation.unwrap_or([1; 64]).map(i32::from);
    for (lines, out) in blocks.coefficients.chunks_exact(blocks.stride).zip(samples.chunks_exact_mut(8 * stride)) {
        for (column, coefficients) in lines.iter().enumerate() {
            block(coefficients, &quantisation, &mut out[8 * column..], stride, transpose);
        }
    }
    Plane { samples, stride, width, height }
}

/// A row of a component at the picture's size. `h` and `v`: how many pixels a sample has, across and down. `sums` is
/// room for as many values as the component has in a row.
#[inline(always)]
fn upsampled(plane: &Plane, y: usize, (h, v): (usize, usize), sums: &mut Vec<u16>, out: &mut [u8]) {
    let near = plane.row(y / v);
    // Of a sample's two rows the upper one leans to the row above, the lower one to the row below.
    let above = y.is_multiple_of(2);
    let other = plane.row(if above { (y / v).saturating_sub(1) } else { y / v + 1 });
    match (h, v) {
        (1, 1) => out.copy_from_slice(&near[..out.len()]),
        (1, 2) => {
            let bias = if above { 1 } else { 2 };
            for (out, (&a, &b)) in out.iter_mut().zip(near.iter().zip(other)) {
                *out = (sum(a.into(), b.into()).wrapping_add(bias) >> 2) as u8;
            }
        }
        (2, 1) if plane.width > 2 => {
            sums.resize(near.len(), 0);
            for (value, &sample) in sums.iter_mut().zip(near) {
                *value = sample.into();
            }
            across::<1, 2, 2>(sums, out);
        }
        (2, 2) if plane.width > 2 => {
            sums.resize(near.len(), 0);
            for (value, (&a, &b)) in sums.iter_mut().zip(near.iter().zip(other)) {
                *value = sum(a.into(), b.into());
            }
            across::<8, 7, 4>(sums, out);
        }
        _ => out.iter_mut().enumerate().for_each(|(x, out)| *out = near[x / h]),
    }
}

/// Two values from each: three parts of it and one of its neighbour on the left, and on the right. A value at an end is
/// its own neighbour. `LEFT` and `RIGHT` are added before the shift by `BITS`.
#[inline(always)]
fn across<const LEFT: u16, const RIGHT: u16, const BITS: u16>(values: &[u16], out: &mut [u8]) {
    // No sum exceeds 16 bits; arithmetic that wraps is not checked.
    let blend = |own: u16, beside: u16, more: u16| (sum(own, beside).wrapping_add(more) >> BITS) as u8;
    let last = values.len() - 1;
    out[0] = blend(values[0], values[0], LEFT);
    // Between two values lie the right half of the one and the left half of the other.
    for (pair, out) in values.windows(2).zip(out[1..].as_chunks_mut::<2>().0) {
        *out = [blend(pair[0], pair[1], RIGHT), blend(pair[1], pair[0], LEFT)];
    }
    // The last sample has two pixels or one.
    if let Some(out) = out.get_mut(2 * last + 1) {
        *out = blend(values[last], values[last], RIGHT);
    }
}

/// Three parts of one and one of the other.
#[inline(always)]
fn sum(own: u16, beside: u16) -> u16 {
    own.wrapping_mul(3).wrapping_add(beside)
}

/// The picture's pixels: one value each if it is grey, else three.
#[inline(always)]
fn picture(frame: &Frame, planes: &[Plane], colour: Colour) -> Vec<u8> {
    let (width, height) = (frame.width, frame.height);
    let channels = if colour == Colour::Grey { 1 } else { 3 };
    let mut pixels = vec![0; width * height * channels];
    let mut rows = vec![vec![0; width]; planes.len()];
    let mut sums = Vec::new();
    for (y, out) in pixels.chunks_exact_mut(width * channels).enumerate() {
        for ((row, plane), part) in rows.iter_mut().zip(planes).zip(&frame.components) {
            upsampled(plane, y, (frame.h_max / part.h, frame.v_max / part.v), &mut sums, row);
        }
        let out_pixels = out.as_chunks_mut::<3>().0;
        match (&rows[..], colour) {
            ([grey], _) => out.copy_from_slice(grey),
            ([y, cb, cr], Colour::YCbCr) => convert(y, cb, cr, out_pixels),
            ([a, b, c], _) => {
                for (out, ((&a, &b), &c)) in out_pixels.iter_mut().zip(a.iter().zip(b).zip(c)) {
                    *out = [a, b, c];
                }
            }
            // What is stored is 255 − C, 255 − M, 255 − Y and 255 − K; YCCK holds the colours of C, M and Y themselves.
            ([a, b, c, black], _) => {
                for (x, out) in out_pixels.iter_mut().enumerate() {
                    let inks = match colour {
                        Colour::Ycck => rgb(a[x], b[x], c[x]),
                        _ => [255 - a[x], 255 - b[x], 255 - c[x]],
                    };
                    *out = inks.map(|ink| inked(ink, black[x]));
                }
            }
            _ => {}
        }
    }
    pixels
}

/// [`rgb`] of a row, many pixels at a time.
#[inline(always)]
fn convert(y: &[u8], cb: &[u8], cr: &[u8], out: &mut [[u8; 3]]) {
    const LANES: usize = 16;
    let (ys, cbs, crs) = (y.as_chunks::<LANES>(), cb.as_chunks::<LANES>(), cr.as_chunks::<LANES>());
    let (outs, rest) = out.as_chunks_mut::<LANES>();
    for (((y, cb), cr), out) in ys.0.iter().zip(cbs.0).zip(crs.0).zip(outs) {
        let mut planes = [[0u8; LANES]; 3];
        for lane in 0..LANES {
            let [red, green, blue] = rgb(y[lane], cb[lane], cr[lane]);
            (planes[0][lane], planes[1][lane], planes[2][lane]) = (red, green, blue);
        }
        for (lane, out) in out.iter_mut().enumerate() {
            *out = [planes[0][lane], planes[1][lane], planes[2][lane]];
        }
    }
    for (out, ((&y, &cb), &cr)) in rest.iter_mut().zip(ys.1.iter().zip(cbs.1).zip(crs.1)) {
        *out = rgb(y, cb, cr);
    }
}

/// JFIF's YCbCr (ITU-R 601 over the full range) in 16-bit fixed point.
#[inline(always)]
pub(in super::super) fn rgb(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    // 1.402, −0.34414, −0.71414 and 1.772 times 2¹⁶, less whole multiples of 2¹⁶: what is left fits 16 bits.
    // Nothing here exceeds 32 bits; arithmetic that wraps is not checked.
    let (y, cb, cr) = (i32::from(y), i32::from(cb).wrapping_sub(128), i32::from(cr).wrapping_sub(128));
    let part = |sum: i32| sum.wrapping_add(1 << 15) >> 16;
    let times = |value: i32, factor: i32| value.wrapping_mul(factor);
    let red = y.wrapping_add(cr).wrapping_add(part(times(cr, 26345)));
    let green = y.wrapping_sub(cr).wrapping_add(part(times(cr, 18734).wrapping_add(times(cb, -22554))));
    let blue = y.wrapping_add(times(cb, 2)).wrapping_add(part(times(cb, -14942)));
    [red.clamp(0, 255) as u8, green.clamp(0, 255) as u8, blue.clamp(0, 255) as u8]
}

/// How much of a colour is left under `ink` where `white` is what black ink leaves, as in Pillow.
pub(in super::super) fn inked(ink: u8, white: u8) -> u8 {
    let product = u32::from(ink) * u32::from(white) + 128;
    white - (((product >> 8) + product) >> 8).min(white.into()) as u8
}
