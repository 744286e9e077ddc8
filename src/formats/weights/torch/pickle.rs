//! A machine for pickles that builds values and calls nothing.
//!
//! Opcodes are those of <https://docs.python.org/3/library/pickletools.html> that `torch.save` and what people put beside
//! their weights need. All others are refused, as are names that only serve to run code.

use super::heap::{Heap, Value};
use super::tape::Tape;

/// Most opcodes of a pickle.
const MOST_OPCODES: usize = 20_000_000;
/// Most values that a pickle may keep: on the stack, in the memo, in tuples and dictionaries.
const MOST_VALUES: usize = 5_000_000;
/// The newest protocol.
const NEWEST: u8 = 5;

/// Reads the next pickle on a tape. Items of lists are kept where `lists` is set.
///
/// # Errors
/// In words, with the place: what is refused.
pub(super) fn read(tape: &mut Tape, lists: bool) -> Result<(Value, Heap), String> {
    let mut machine =
        Machine { tape, heap: Heap::new(lists), stack: Vec::new(), marks: Vec::new(), memo: Memo::default() };
    for _ in 0..MOST_OPCODES {
        let at = machine.tape.at();
        let step = machine.step();
        if let Some(root) = step.map_err(|reason| format!("{reason} (byte {at} of the pickle)"))? {
            return Ok((root, machine.heap));
        }
        if machine.held() > MOST_VALUES {
            return Err(format!("the pickle holds more than {MOST_VALUES} values"));
        }
    }
    Err(format!("the pickle has more than {MOST_OPCODES} opcodes"))
}

struct Machine<'t, 'a> {
    tape: &'t mut Tape<'a>,
    heap: Heap,
    stack: Vec<Value>,
    /// How high the stack was at each mark.
    marks: Vec<u32>,
    memo: Memo,
}

impl Machine<'_, '_> {
    /// Runs one opcode; the value, where it is the last.
    fn step(&mut self) -> Result<Option<Value>, String> {
        let [opcode] = self.tape.array()?;
        let value = match opcode {
            // STOP
            b'.' => {
                let root = self.pop()?;
                let over = !self.stack.is_empty() || !self.marks.is_empty();
                return if over { Err("values are left over at its end".into()) } else { Ok(Some(root)) };
            }
            // PROTO, FRAME
            0x80 => {
                let [version] = self.tape.array()?;
                return if version > NEWEST { Err(format!("protocol {version}")) } else { Ok(None) };
            }
            0x95 => {
                let long = u64::from_le_bytes(self.tape.array()?) > self.tape.left();
                return if long { Err("a frame that is cut short".into()) } else { Ok(None) };
            }
            // MARK, POP, POP_MARK, DUP
            b'(' => {
                self.marks.push(self.stack.len() as u32);
                return Ok(None);
            }
            b'0' => {
                self.pop()?;
                return Ok(None);
            }
            b'1' => {
                let from = self.mark()?;
                self.stack.truncate(from);
                return Ok(None);
            }
            b'2' => self.top()?,
            // NONE, NEWTRUE, NEWFALSE
            b'N' => Value::None,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            // BININT, BININT1, BININT2, LONG1, BINFLOAT
            b'J' => Value::Int(i32::from_le_bytes(self.tape.array()?).into()),
            b'K' => Value::Int(u8::from_le_bytes(self.tape.array()?).into()),
            b'M' => Value::Int(u16::from_le_bytes(self.tape.array()?).into()),
            0x8A => self.long()?,
            b'G' => Value::Float(f64::from_be_bytes(self.tape.array()?)),
            // BINUNICODE, SHORT_BINUNICODE, BINUNICODE8, and Python 2's BINSTRING, SHORT_BINSTRING
            b'X' | b'T' => self.text(4)?,
            0x8C | b'U' => self.text(1)?,
            0x8D => self.text(8)?,
            // BINBYTES, SHORT_BINBYTES, BINBYTES8, BYTEARRAY8
            b'B' => self.bytes(4)?,
            b'C' => self.bytes(1)?,
            0x8E | 0x96 => self.bytes(8)?,
            // EMPTY_TUPLE, TUPLE1, TUPLE2, TUPLE3, TUPLE
            b')' => self.heap.new_tuple(&[])?,
            0x85..=0x87 => {
                let from = self.last(usize::from(opcode - 0x84))?;
                self.gathered(from)?
            }
            b't' => {
                let from = self.mark()?;
                self.gathered(from)?
            }
            // EMPTY_LIST, LIST, APPEND, APPENDS
            b']' => self.heap.new_list(),
            b'l' => {
                let (from, list) = (self.mark()?, self.heap.new_list());
                self.heap.extend(list, &self.stack[from..])?;
                self.stack.truncate(from);
                list
            }
            b'a' => {
                let from = self.last(1)?;
                return self.append(from);
            }
            b'e' => {
                let from = self.mark()?;
                return self.append(from);
            }
            // EMPTY_DICT, DICT, SETITEM, SETITEMS
            b'}' => self.heap.new_dict(),
            b'd' => {
                let (from, dict) = (self.mark()?, self.heap.new_dict());
                self.heap.set(dict, &self.stack[from..])?;
                self.stack.truncate(from);
                dict
            }
            b's' => {
                let from = self.last(2)?;
                return self.set(from);
            }
            b'u' => {
                let from = self.mark()?;
                return self.set(from);
            }
            // EMPTY_SET, ADDITEMS, FROZENSET
            0x8F => Value::Opaque(None),
            0x90 => {
                let from = self.mark()?;
                self.stack.truncate(from);
                let set = matches!(self.top()?, Value::Opaque(_));
                return if set { Ok(None) } else { Err("it adds items to what is no set".into()) };
            }
            0x91 => {
                let from = self.mark()?;
                self.stack.truncate(from);
                Value::Opaque(None)
            }
            // BINPUT, LONG_BINPUT, MEMOIZE, BINGET, LONG_BINGET
            b'q' | b'r' | 0x94 => {
                let number = match opcode {
                    b'q' => u8::from_le_bytes(self.tape.array()?).into(),
                    b'r' => u32::from_le_bytes(self.tape.array()?),
                    _ => self.memo.len() as u32,
                };
                let top = self.top()?;
                self.memo.put(number, top);
                return Ok(None);
            }
            b'h' | b'j' => {
                let number = match opcode {
                    b'h' => u8::from_le_bytes(self.tape.array()?).into(),
                    _ => u32::from_le_bytes(self.tape.array()?),
                };
                self.memo.get(number).ok_or_else(|| format!("number {number} of its memo is not set"))?
            }
            // GLOBAL, STACK_GLOBAL
            b'c' => {
                let (module, name) = (self.tape.line()?, self.tape.line()?);
                self.heap.global(self.tape.bytes(module), self.tape.bytes(name))?
            }
            0x93 => match (self.pop()?, self.pop()?) {
                (Value::Text(name), Value::Text(module)) => {
                    self.heap.global(self.tape.bytes(module), self.tape.bytes(name))?
                }
                _ => return Err("a name that is no text".into()),
            },
            // REDUCE, NEWOBJ, NEWOBJ_EX, BUILD
            b'R' => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                self.heap.called(function, arguments)?
            }
            0x81 => {
                self.pop()?;
                Heap::made_by(self.pop()?)
            }
            0x92 => {
                self.pop()?;
                self.pop()?;
                Heap::made_by(self.pop()?)
            }
            b'b' => {
                self.pop()?;
                self.top()?;
                return Ok(None);
            }
            // BINPERSID
            b'Q' => {
                let id = self.pop()?;
                self.heap.storage(id, self.tape)?
            }
            other => return Err(format!("opcode {} (0x{other:02x}) has no place in a checkpoint", name(other))),
        };
        self.stack.push(value);
        Ok(None)
    }

    fn held(&self) -> usize {
        self.stack.len() + self.marks.len() + self.memo.len() + self.heap.held()
    }

    /// Where the stack's last `count` values above the last mark begin.
    fn last(&self, count: usize) -> Result<usize, String> {
        let bottom = self.marks.last().map_or(0, |&mark| mark as usize);
        let from = self.stack.len().checked_sub(count).filter(|&from| from >= bottom);
        from.ok_or_else(|| "its stack is empty".into())
    }

    fn top(&self) -> Result<Value, String> {
        self.last(1).map(|at| self.stack[at])
    }

    fn pop(&mut self) -> Result<Value, String> {
        let at = self.last(1)?;
        Ok(self.stack.swap_remove(at))
    }

    /// Takes the last mark: where the values above it begin.
    fn mark(&mut self) -> Result<usize, String> {
        self.marks.pop().map(|mark| mark as usize).ok_or_else(|| "a mark is missing".into())
    }

    /// A tuple of the stack's values from `from` on.
    fn gathered(&mut self, from: usize) -> Result<Value, String> {
        let tuple = self.heap.new_tuple(&self.stack[from..]);
        self.stack.truncate(from);
        tuple
    }

    /// Adds the stack's values from `from` on to the list below them.
    fn append(&mut self, from: usize) -> Result<Option<Value>, String> {
        let list = self.below(from)?;
        self.heap.extend(list, &self.stack[from..])?;
        self.stack.truncate(from);
        Ok(None)
    }

    /// Sets the keys and values from `from` on in the dictionary below them.
    fn set(&mut self, from: usize) -> Result<Option<Value>, String> {
        let dict = self.below(from)?;
        self.heap.set(dict, &self.stack[from..])?;
        self.stack.truncate(from);
        Ok(None)
    }

    fn below(&self, from: usize) -> Result<Value, String> {
        self.last(self.stack.len() - from + 1).map(|at| self.stack[at])
    }

    /// A length of `width` bytes.
    fn length(&mut self, width: usize) -> Result<u64, String> {
        let span = self.tape.take(width as u64)?;
        Ok(self.tape.bytes(span).iter().rev().fold(0, |length, &byte| length << 8 | u64::from(byte)))
    }

    /// A text; where it is no UTF-8, as names of files may be, only bytes.
    fn text(&mut self, width: usize) -> Result<Value, String> {
        let length = self.length(width)?;
        let span = self.tape.take(length)?;
        let text = std::str::from_utf8(self.tape.bytes(span)).is_ok();
        Ok(if text { Value::Text(span) } else { Value::Bytes })
    }

    fn bytes(&mut self, width: usize) -> Result<Value, String> {
        let length = self.length(width)?;
        self.tape.take(length).map(|_| Value::Bytes)
    }

    fn long(&mut self) -> Result<Value, String> {
        let length = self.length(1)?;
        let span = self.tape.take(length)?;
        let bytes = self.tape.bytes(span);
        if bytes.len() > 8 {
            return Ok(Value::Long(span));
        }
        // The sign is that of the last byte.
        let fill = if bytes.last().is_some_and(|&last| last > 0x7F) { 0xFF } else { 0 };
        let mut whole = [fill; 8];
        whole[..bytes.len()].copy_from_slice(bytes);
        Ok(Value::Int(i64::from_le_bytes(whole)))
    }
}

/// Values by number, most of which follow each other from 0 on.
#[derive(Default)]
struct Memo {
    first: Vec<Value>,
    others: std::collections::BTreeMap<u32, Value>,
}

impl Memo {
    fn len(&self) -> usize {
        self.first.len() + self.others.len()
    }

    fn put(&mut self, number: u32, value: Value) {
        match number as usize {
            at if at < self.first.len() => self.first[at] = value,
            at if at == self.first.len() => self.first.push(value),
            _ => drop(self.others.insert(number, value)),
        }
    }

    fn get(&self, number: u32) -> Option<Value> {
        self.first.get(number as usize).or_else(|| self.others.get(&number)).copied()
    }
}

/// What Python calls an opcode that is refused.
fn name(opcode: u8) -> &'static str {
    match opcode {
        b'i' => "INST",
        b'o' => "OBJ",
        b'P' => "PERSID",
        b'I' => "INT",
        b'L' => "LONG",
        b'F' => "FLOAT",
        b'S' => "STRING",
        b'V' => "UNICODE",
        b'p' => "PUT",
        b'g' => "GET",
        0x82 => "EXT1",
        0x83 => "EXT2",
        0x84 => "EXT4",
        0x8B => "LONG4",
        0x97 => "NEXT_BUFFER",
        0x98 => "READONLY_BUFFER",
        _ => "unknown",
    }
}
