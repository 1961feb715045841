//! Reading JSON piece by piece.
//!
//! A library for any use of JSON would be a sixth of the module's size. `pinroute-core` reads whole values with this
//! reader, and its tests hold both to such a library (`serde_json`), whose words are used here for what is wrong
//! with a text.

use std::borrow::Cow;
use std::fmt;

/// A value that is neither a string nor holds others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number.
    Number(Number),
}

/// A JSON number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// One without fraction and exponent, exactly.
    Whole {
        /// Whether a minus stands before it.
        negative: bool,
        /// What stands behind that.
        magnitude: u64,
    },
    /// Any other. Of very many digits, or with a great exponent, the last bits are not exact.
    Real(f64),
}

impl Number {
    /// The nearest that a double can hold.
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Whole { negative: false, magnitude } => magnitude as f64,
            Self::Whole { negative: true, magnitude } => -(magnitude as f64),
            Self::Real(real) => real,
        }
    }
}

/// What is wrong with a text, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonError {
    problem: &'static str,
    line: usize,
    column: usize,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at line {} column {}", self.problem, self.line, self.column)
    }
}

/// What was read, or what is wrong.
pub type Read<T> = Result<T, JsonError>;

/// Reads a text from its beginning to its end, one value after another.
#[derive(Clone, Debug)]
pub struct Reader<'b> {
    text: &'b [u8],
    at: usize,
}

impl<'b> Reader<'b> {
    /// A reader at the beginning of `text`.
    pub fn of(text: &'b [u8]) -> Self {
        Self { text, at: 0 }
    }

    /// Nothing but white space may follow.
    ///
    /// # Errors
    /// Something follows.
    pub fn end(&mut self) -> Read<()> {
        self.peek().map_or(Ok(()), |_| Err(self.error("trailing characters")))
    }

    /// Reads an object. `member` is called with the name of each member, and has to read its value.
    ///
    /// # Errors
    /// What is wrong with the object, or what `member` returns.
    pub fn object(&mut self, member: &mut dyn FnMut(&mut Self, Cow<'b, str>) -> Read<()>) -> Read<()> {
        self.items(b'{', b'}', &mut |reader| {
            let name = reader.name()?;
            member(reader, name)
        })
    }

    /// Reads a string. It is borrowed unless it has escapes.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn string(&mut self) -> Read<Cow<'b, str>> {
        let decoded = self.bytes()?;
        let text = match decoded {
            Cow::Borrowed(bytes) => std::str::from_utf8(bytes).map(Cow::Borrowed).ok(),
            Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).ok(),
        };
        text.ok_or_else(|| self.error("invalid unicode code point"))
    }

    /// Reads a value and forgets it, however deep it nests.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn skip(&mut self) -> Read<()> {
        // What closes the lists and objects that are open, the innermost last.
        let mut open = Vec::new();
        loop {
            match self.peek() {
                Some(bracket @ (b'[' | b'{')) => {
                    self.at += 1;
                    let close = if bracket == b'[' { b']' } else { b'}' };
                    open.push(close);
                    if self.peek() != Some(close) {
                        self.name_if(close == b'}')?;
                        continue;
                    }
                }
                Some(b'"') => drop(self.bytes()?),
                _ => drop(self.scalar()?),
            }
            // A value has come to its end, and with it perhaps those around it.
            loop {
                let Some(close) = open.last().copied() else { return Ok(()) };
                if self.goes_on(close)? {
                    self.name_if(close == b'}')?;
                    break;
                }
                open.pop();
            }
        }
    }

    /// Reads a list. `item` is called for each item, and has to read it.
    ///
    /// # Errors
    /// What is wrong with the list, or what `item` returns.
    pub fn list(&mut self, item: &mut dyn FnMut(&mut Self) -> Read<()>) -> Read<()> {
        self.items(b'[', b']', item)
    }

    /// Reads what stands between two brackets and is separated by commas.
    fn items(&mut self, open: u8, close: u8, item: &mut dyn FnMut(&mut Self) -> Read<()>) -> Read<()> {
        if self.peek() != Some(open) {
            return Err(self.error(if open == b'{' { "expected an object" } else { "expected a list" }));
        }
        self.at += 1;
        match self.peek() {
            Some(byte) if byte == close => {
                self.at += 1;
                return Ok(());
            }
            Some(_) => {}
            None => return Err(self.error(unfinished(close))),
        }
        loop {
            item(self)?;
            if !self.goes_on(close)? {
                return Ok(());
            }
        }
    }

    /// Reads what stands behind an item: a comma, or what closes the whole. Whether it was a comma.
    fn goes_on(&mut self, close: u8) -> Read<bool> {
        let token = self.peek();
        let in_object = close == b'}';
        if token != Some(b',') && token != Some(close) {
            return Err(self.error(match (token, in_object) {
                (None, _) => unfinished(close),
                (_, true) => "expected `,` or `}`",
                (_, false) => "expected `,` or `]`",
            }));
        }
        self.at += 1;
        if token == Some(b',') && self.peek() == Some(close) {
            return Err(self.error("trailing comma"));
        }
        Ok(token == Some(b','))
    }

    /// Reads the name of a member and the colon behind it.
    fn name(&mut self) -> Read<Cow<'b, str>> {
        match self.peek() {
            Some(b'"') => {}
            None => return Err(self.error(unfinished(b'}'))),
            Some(_) => return Err(self.error("key must be a string")),
        }
        let name = self.string()?;
        match self.peek() {
            Some(b':') => {
                self.at += 1;
                Ok(name)
            }
            None => Err(self.error(unfinished(b'}'))),
            Some(_) => Err(self.error("expected `:`")),
        }
    }

    fn name_if(&mut self, in_object: bool) -> Read<()> {
        if in_object {
            self.name()?;
        }
        Ok(())
    }

    /// Reads a string as bytes that need not be UTF-8.
    fn bytes(&mut self) -> Read<Cow<'b, [u8]>> {
        if self.peek() != Some(b'"') {
            return Err(self.error("expected a string"));
        }
        self.at += 1;
        let start = self.at;
        let mut escaped = false;
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1f);
            self.at += rest.iter().position(special).unwrap_or(rest.len());
            match self.byte() {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    // Whatever is escaped, it does not end the string.
                    self.at += 2;
                }
                Some(_) => {
                    return Err(self.error("control character (\\u0000-\\u001F) found while parsing a string"))
                }
                None => return Err(self.error("EOF while parsing a string")),
            }
        }
        let inside = Self { text: self.text.get(..self.at).unwrap_or_default(), at: start };
        self.at += 1;
        if escaped {
            inside.unescape().map(Cow::Owned)
        } else {
            Ok(Cow::Borrowed(inside.text.get(start..).unwrap_or_default()))
        }
    }

    /// Reads all there is as the inside of a string.
    fn unescape(mut self) -> Read<Vec<u8>> {
        let mut decoded = Vec::with_capacity(self.text.len() - self.at);
        while let Some(byte) = self.next() {
            let plain = match byte {
                b'\\' => match self.byte() {
                    Some(same @ (b'"' | b'\\' | b'/')) => same,
                    Some(b'b') => 0x08,
                    Some(b'f') => 0x0c,
                    Some(b'n') => b'\n',
                    Some(b'r') => b'\r',
                    Some(b't') => b'\t',
                    Some(b'u') => {
                        self.at += 1;
                        let character = self.unicode()?;
                        decoded.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                        continue;
                    }
                    _ => return Err(self.error("invalid escape")),
                },
                _ => {
                    decoded.push(byte);
                    continue;
                }
            };
            self.at += 1;
            decoded.push(plain);
        }
        Ok(decoded)
    }

    /// Reads what follows `\u`: a code point, or the first half of a surrogate pair and then `\u` and the second.
    fn unicode(&mut self) -> Read<char> {
        let mut code = self.hex4()?;
        if matches!(code, 0xd800..=0xdbff) && self.next() == Some(b'\\') && self.next() == Some(b'u') {
            let low = self.hex4()?;
            code = if matches!(low, 0xdc00..=0xdfff) {
                0x10000 + ((code - 0xd800) << 10 | (low - 0xdc00))
            } else {
                0xd800
            };
        }
        char::from_u32(code).ok_or_else(|| self.error("lone leading surrogate in hex escape"))
    }

    fn hex4(&mut self) -> Read<u32> {
        let mut code = 0;
        for _ in 0..4 {
            let Some(digit) = self.byte().and_then(|byte| char::from(byte).to_digit(16)) else {
                return Err(self.error("invalid escape"));
            };
            code = code << 4 | digit;
            self.at += 1;
        }
        Ok(code)
    }

    /// Reads `null`, `true`, `false` or a number.
    ///
    /// # Errors
    /// It is none of these.
    pub fn scalar(&mut self) -> Read<Scalar> {
        match self.peek() {
            Some(b'n') => self.word("null", Scalar::Null),
            Some(b't') => self.word("true", Scalar::Bool(true)),
            Some(b'f') => self.word("false", Scalar::Bool(false)),
            Some(b'-' | b'0'..=b'9') => self.number().map(Scalar::Number),
            Some(_) => Err(self.error("expected value")),
            None => Err(self.error("EOF while parsing a value")),
        }
    }

    fn word(&mut self, word: &str, value: Scalar) -> Read<Scalar> {
        for expected in word.bytes() {
            match self.byte() {
                Some(byte) if byte == expected => self.at += 1,
                Some(_) => return Err(self.error("expected ident")),
                None => return Err(self.error("EOF while parsing a value")),
            }
        }
        Ok(value)
    }

    fn number(&mut self) -> Read<Number> {
        let negative = self.byte() == Some(b'-');
        if negative {
            self.at += 1;
        }
        let mut digits = Digits::default();
        let leading_zero = self.byte() == Some(b'0');
        let whole = self.digits(&mut digits)?;
        if leading_zero && whole > 1 {
            return Err(self.error("invalid number"));
        }
        let mut exponent = digits.left_out;
        let mut is_whole = digits.left_out == 0;
        if self.byte() == Some(b'.') {
            self.at += 1;
            is_whole = false;
            let places = self.digits(&mut digits)?;
            exponent = digits.left_out.saturating_sub(places);
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            is_whole = false;
            let down = self.byte() == Some(b'-');
            if let Some(b'-' | b'+') = self.byte() {
                self.at += 1;
            }
            let mut written = Digits::default();
            self.digits(&mut written)?;
            // Beyond this everything is zero or infinite.
            let written = written.value.min(100_000) as i32;
            exponent = exponent.saturating_add(if down { -written } else { written });
        }
        if is_whole {
            return Ok(Number::Whole { negative, magnitude: digits.value });
        }
        let scale = 10_f64.powi(exponent.saturating_abs());
        let real = match digits.value as f64 {
            zero if digits.value == 0 => zero,
            value if exponent < 0 => value / scale,
            value => value * scale,
        };
        Ok(Number::Real(if negative { -real } else { real }))
    }

    /// Reads digits, at least one. How many there were.
    fn digits(&mut self, digits: &mut Digits) -> Read<i32> {
        let start = self.at;
        while let Some(byte @ b'0'..=b'9') = self.byte() {
            digits.push(byte - b'0');
            self.at += 1;
        }
        match i32::try_from(self.at - start) {
            Ok(count) if count > 0 => Ok(count),
            _ if self.byte().is_none() => Err(self.error("EOF while parsing a value")),
            _ => Err(self.error("invalid number")),
        }
    }

    /// The next byte that is no white space: it says what comes next. It is still to be read.
    pub fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.byte() {
            self.at += 1;
        }
        self.byte()
    }

    fn byte(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.byte();
        self.at += 1;
        byte
    }

    /// Says that this is wrong with the byte that is the next.
    #[cold]
    pub fn error(&self, problem: &'static str) -> JsonError {
        let to = (self.at + 1).min(self.text.len());
        let before = self.text.get(..to).unwrap_or_default();
        let lines = before.split(|byte| *byte == b'\n');
        let column = lines.clone().next_back().map_or(0, <[u8]>::len);
        JsonError { problem, line: lines.count(), column }
    }
}

fn unfinished(close: u8) -> &'static str {
    match close {
        b'}' => "EOF while parsing an object",
        _ => "EOF while parsing a list",
    }
}

/// A decimal number, as far as it fits.
#[derive(Default)]
struct Digits {
    value: u64,
    /// How many digits at the end did not fit.
    left_out: i32,
}

impl Digits {
    fn push(&mut self, digit: u8) {
        let longer = self.value.checked_mul(10).and_then(|value| value.checked_add(u64::from(digit)));
        match longer {
            Some(value) if self.left_out == 0 => self.value = value,
            _ => self.left_out = self.left_out.saturating_add(1),
        }
    }
}
