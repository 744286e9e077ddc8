//! The entropy-coded data of scans: sequential and progressive (ITU-T T.81, annexes F and G).

use super::huffman::{Bits, Fault, Table};
use super::markers::{Frame, SHORT, Scan, Tables, ZIGZAG};

/// The coefficients of one component, block by block, each row by row.
pub(super) struct Blocks {
    pub(super) coefficients: Vec<[i16; 64]>,
    /// Blocks from row to row.
    pub(super) stride: usize,
    /// The quantisation table that stood when its first scan began.
    pub(super) quantisation: Option<[u16; 64]>,
    /// For each coefficient in the zigzag order, the bit that scans reached; none: no scan had it.
    reached: [Option<u8>; 64],
}

impl Blocks {
    /// The blocks of each component of a frame.
    pub(super) fn of(frame: &Frame) -> Vec<Blocks> {
        let (across, down) = frame.units();
        let blocks = frame.components.iter().map(|part| {
            let (stride, rows) = (across * part.h, down * part.v);
            let coefficients = vec![[0; 64]; stride * rows];
            Blocks { coefficients, stride, quantisation: None, reached: [None; 64] }
        });
        blocks.collect()
    }

    /// Whether scans brought every coefficient in full precision.
    pub(super) fn whole(&self) -> bool {
        self.reached.iter().all(|&bit| bit == Some(0))
    }
}

/// Decodes a scan whose data begin at `at`; where what follows it begins.
pub(super) fn decode(
    bytes: &[u8],
    at: usize,
    frame: &Frame,
    scan: &Scan,
    tables: &Tables,
    blocks: &mut [Blocks],
) -> Result<usize, String> {
    for &(which, dc, ac) in &scan.components {
        let part = &mut blocks[which];
        if part.quantisation.is_none() {
            let table = tables.quantisation[frame.components[which].quantisation];
            part.quantisation = Some(table.ok_or("the JPEG lacks a quantisation table")?);
        }
        part.reached[scan.from..=scan.to].fill(Some(scan.low));
        let lacks =
            (scan.from == 0 && scan.high == 0 && tables.dc[dc].is_none()) || (scan.to > 0 && tables.ac[ac].is_none());
        if lacks {
            return Err("the JPEG lacks a Huffman table".into());
        }
    }
    let mut decoder = Decoder { bits: Bits::new(bytes, at), scan, before: [0; 4], end_run: 0 };
    match units(&mut decoder, frame, tables, blocks) {
        Ok(()) => Ok(decoder.bits.place()),
        Err(Fault::Short) => Err(SHORT.into()),
        Err(Fault::Damaged) => Err("the JPEG's data are damaged".into()),
    }
}

/// Every unit of a scan: a block if it has one component, else all blocks of a unit of the frame.
fn units(decoder: &mut Decoder, frame: &Frame, tables: &Tables, blocks: &mut [Blocks]) -> Result<(), Fault> {
    let scan = decoder.scan;
    let single = scan.components.len() == 1;
    let (across, down) = if single {
        let (width, height) = frame.samples(&frame.components[scan.components[0].0]);
        (width.div_ceil(8), height.div_ceil(8))
    } else {
        frame.units()
    };
    for unit in 0..across * down {
        if tables.restart > 0 && unit > 0 && unit % tables.restart == 0 {
            decoder.bits.restart(((unit / tables.restart - 1) % 8) as u8)?;
            (decoder.before, decoder.end_run) = ([0; 4], 0);
        }
        let (row, column) = (unit / across, unit % across);
        for (number, &(which, dc, ac)) in scan.components.iter().enumerate() {
            let part = &frame.components[which];
            let (h, v) = if single { (1, 1) } else { (part.h, part.v) };
            let Blocks { coefficients, stride, .. } = &mut blocks[which];
            for y in 0..v {
                for x in 0..h {
                    let block = &mut coefficients[(row * v + y) * *stride + column * h + x];
                    decoder.block(block, number, tables.dc[dc].as_ref(), tables.ac[ac].as_ref(), frame.progressive)?;
                }
            }
        }
    }
    Ok(())
}

struct Decoder<'b> {
    bits: Bits<'b>,
    scan: &'b Scan,
    /// The last DC value of each of the scan's components.
    before: [i32; 4],
    /// How many further blocks have no more new coefficients.
    end_run: u32,
}

impl Decoder<'_> {
    #[inline]
    fn block(
        &mut self,
        block: &mut [i16; 64],
        number: usize,
        dc: Option<&Table>,
        ac: Option<&Table>,
        progressive: bool,
    ) -> Result<(), Fault> {
        let low = self.scan.low;
        if self.scan.from == 0 {
            if self.scan.high == 0 {
                let (size, difference) = self.bits.symbol_and_value(dc.ok_or(Fault::Damaged)?)?;
                if size > 15 {
                    return Err(Fault::Damaged);
                }
                self.before[number] = self.before[number].wrapping_add(difference);
                block[0] = (self.before[number] << low) as i16;
            } else {
                block[0] |= (self.bits.take(1)? << low) as i16;
            }
        }
        if self.scan.to == 0 {
            return Ok(());
        }
        let ac = ac.ok_or(Fault::Damaged)?;
        match (progressive, self.scan.high) {
            (false, _) => self.sequential(block, ac),
            (true, 0) => self.first(block, ac),
            (true, _) => self.refine(block, ac),
        }
    }

    fn sequential(&mut self, block: &mut [i16; 64], ac: &Table) -> Result<(), Fault> {
        // A copy, so that compilers keep it in registers; arithmetic that wraps is not checked.
        let (mut bits, mut at) = (self.bits, 1usize);
        while at < 64 {
            let (symbol, value) = bits.symbol_and_value(ac)?;
            let (run, size) = (usize::from(symbol >> 4), symbol & 15);
            match (run, size) {
                (15, 0) => at = at.wrapping_add(16),
                (_, 0) => break,
                _ => {
                    at = at.wrapping_add(run);
                    let place = *ZIGZAG.get(at).ok_or(Fault::Damaged)?;
                    block[usize::from(place & 63)] = value as i16;
                    at = at.wrapping_add(1);
                }
            }
        }
        self.bits = bits;
        Ok(())
    }

    /// The length of a run of blocks without further coefficients, this one included.
    fn run_of_ends(&mut self, run: usize) -> Result<u32, Fault> {
        Ok((1 << run) + self.bits.take(run as u32)? as u32)
    }

    fn first(&mut self, block: &mut [i16; 64], ac: &Table) -> Result<(), Fault> {
        if self.end_run > 0 {
            self.end_run -= 1;
            return Ok(());
        }
        let mut at = self.scan.from;
        while at <= self.scan.to {
            let (symbol, value) = self.bits.symbol_and_value(ac)?;
            let (run, size) = (usize::from(symbol >> 4), symbol & 15);
            match (run, size) {
                (15, 0) => at += 16,
                (_, 0) => {
                    self.end_run = self.run_of_ends(run)? - 1;
                    break;
                }
                _ => {
                    at += run;
                    if at > self.scan.to {
                        return Err(Fault::Damaged);
                    }
                    block[usize::from(ZIGZAG[at])] = (value << self.scan.low) as i16;
                    at += 1;
                }
            }
        }
        Ok(())
    }

    fn refine(&mut self, block: &mut [i16; 64], ac: &Table) -> Result<(), Fault> {
        let bit = 1i16 << self.scan.low;
        let mut at = self.scan.from;
        while self.end_run == 0 && at <= self.scan.to {
            let symbol = self.bits.symbol(ac)?;
            let (mut run, size) = (usize::from(symbol >> 4), symbol & 15);
            let fresh = match (run, size) {
                (15, 0) => None,
                (_, 0) => {
                    self.end_run = self.run_of_ends(run)?;
                    break;
                }
                (_, 1) => Some(if self.bits.take(1)? == 1 { bit } else { -bit }),
                _ => return Err(Fault::Damaged),
            };
            // Past `run` coefficients that are still zero; those that are not take a bit on the way.
            while at <= self.scan.to {
                let value = &mut block[usize::from(ZIGZAG[at])];
                if *value != 0 {
                    sharpen(value, bit, self.bits.take(1)?);
                } else if run == 0 {
                    break;
                } else {
                    run -= 1;
                }
                at += 1;
            }
            if let Some(fresh) = fresh {
                if at > self.scan.to {
                    return Err(Fault::Damaged);
                }
                block[usize::from(ZIGZAG[at])] = fresh;
            }
            at += 1;
        }
        if self.end_run > 0 {
            for &place in &ZIGZAG[at..=self.scan.to.max(at).min(63)] {
                let value = &mut block[usize::from(place)];
                if *value != 0 && at <= self.scan.to {
                    sharpen(value, bit, self.bits.take(1)?);
                }
            }
            self.end_run -= 1;
        }
        Ok(())
    }
}

/// One more bit of a coefficient, away from zero.
fn sharpen(value: &mut i16, bit: i16, taken: i32) {
    if taken == 1 && *value & bit == 0 {
        *value = if *value > 0 { value.wrapping_add(bit) } else { value.wrapping_sub(bit) };
    }
}
