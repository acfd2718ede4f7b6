//! Quantities of resources: fixed-point numbers with Kubernetes' suffixes.

use std::cmp::Ordering;
use std::fmt;
use std::ops::{Add, AddAssign, Neg, Sub, SubAssign};
use std::str::FromStr;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;

/// One unit in the finest step a quantity can hold.
const NANO: i128 = 1_000_000_000;
/// The largest magnitude, in nano-units: 2^63 - 1 units.
const LIMIT: i128 = (i64::MAX as i128) * NANO;
/// Digits beyond which a number is out of range whatever its scale; bounds the work of parsing.
const MAX_DIGITS: usize = 64;

const DECIMAL: [(&str, i32); 10] = [
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("", 0),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];
const BINARY: [(&str, u32); 6] =
    [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];

/// Which family of suffixes a quantity was written with, and is written with again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// `m`, none, `k`, `M`, …: powers of 1000.
    #[default]
    DecimalSi,
    /// `Ki`, `Mi`, …: powers of 1024.
    BinarySi,
    /// `e3`, `E6`, …: powers of ten.
    DecimalExponent,
}

/// Why a text is no quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "quantities must match the regular expression \
     '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)]
pub struct ParseQuantityError;

/// A fixed-point number with nano resolution and at most 2^63 - 1 in magnitude. What is finer is
/// rounded away from zero, what is larger is capped, as Kubernetes does.
/// <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>
///
/// ```
/// use kcore::quantity::Quantity;
/// let request: Quantity = "1.5Gi".parse().unwrap();
/// assert_eq!(request.to_string(), "1536Mi");
/// assert!("1500m".parse::<Quantity>().unwrap() < "2".parse().unwrap());
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Quantity {
    nano: i128,
    format: Format,
}

impl Quantity {
    /// Zero.
    pub const ZERO: Self = Self { nano: 0, format: Format::DecimalSi };

    /// A whole number of units.
    #[must_use]
    pub const fn from_units(units: i64, format: Format) -> Self {
        Self { nano: units as i128 * NANO, format }
    }

    /// A number of thousandths, as CPU is counted.
    #[must_use]
    pub const fn from_milli(milli: i64) -> Self {
        Self { nano: milli as i128 * 1_000_000, format: Format::DecimalSi }
    }

    /// Reads the API's form.
    ///
    /// # Errors
    /// If the text is no quantity.
    pub fn from_api(quantity: &ApiQuantity) -> Result<Self, ParseQuantityError> {
        quantity.0.parse()
    }

    /// The API's form, canonical.
    #[must_use]
    pub fn to_api(&self) -> ApiQuantity {
        ApiQuantity(self.to_string())
    }

    /// Whole units, rounded up (away from zero).
    #[must_use]
    pub fn units(&self) -> i64 {
        to_i64(div_away(self.nano, NANO))
    }

    /// Thousandths, rounded up (away from zero), capped.
    #[must_use]
    pub fn milli(&self) -> i64 {
        to_i64(div_away(self.nano, 1_000_000))
    }

    /// The value as a floating-point number, for ratios.
    #[must_use]
    pub fn as_f64(&self) -> f64 {
        self.nano as f64 / NANO as f64
    }

    /// The suffix family it is written with.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// Whether it is zero.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.nano == 0
    }

    /// -1, 0 or 1.
    #[must_use]
    pub fn signum(&self) -> i32 {
        match self.nano.cmp(&0) {
            Ordering::Less => -1,
            Ordering::Equal => 0,
            Ordering::Greater => 1,
        }
    }

    fn with(self, nano: i128, other: Self) -> Self {
        // A sum takes the format of the first operand that is not zero.
        let format = if self.is_zero() { other.format } else { self.format };
        Self { nano: nano.clamp(-LIMIT, LIMIT), format }
    }
}

fn to_i64(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

/// Divides, rounding away from zero.
fn div_away(value: i128, by: i128) -> i128 {
    let (quotient, rest) = (value / by, value % by);
    quotient + rest.signum()
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nano == other.nano
    }
}
impl Eq for Quantity {}
impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nano.cmp(&other.nano)
    }
}
impl Add for Quantity {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        self.with(self.nano.saturating_add(other.nano), other)
    }
}
impl AddAssign for Quantity {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}
impl Sub for Quantity {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self.with(self.nano.saturating_sub(other.nano), other)
    }
}
impl SubAssign for Quantity {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}
impl Neg for Quantity {
    type Output = Self;
    fn neg(self) -> Self {
        Self { nano: -self.nano, ..self }
    }
}

impl FromStr for Quantity {
    type Err = ParseQuantityError;

    fn from_str(text: &str) -> Result<Self, ParseQuantityError> {
        let (negative, rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
            return Err(ParseQuantityError);
        }
        let (format, factor) = parse_suffix(suffix)?;
        let magnitude = magnitude(whole, fraction, factor);
        Ok(Self { nano: if negative { -magnitude } else { magnitude }, format })
    }
}

/// What a suffix multiplies by.
#[derive(Clone, Copy)]
enum Factor {
    Ten(i32),
    Two(u32),
}

fn parse_suffix(suffix: &str) -> Result<(Format, Factor), ParseQuantityError> {
    if let Some((_, power)) = DECIMAL.iter().find(|(known, _)| *known == suffix) {
        return Ok((Format::DecimalSi, Factor::Ten(*power)));
    }
    if let Some((_, bits)) = BINARY.iter().find(|(known, _)| *known == suffix) {
        return Ok((Format::BinarySi, Factor::Two(*bits)));
    }
    let exponent = suffix.strip_prefix(['e', 'E']).ok_or(ParseQuantityError)?;
    let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(ParseQuantityError);
    }
    // An exponent too long for the type is far out of range either way.
    let far = if exponent.starts_with('-') { -1000 } else { 1000 };
    let power = exponent.parse::<i32>().unwrap_or(far).clamp(-1000, 1000);
    Ok((Format::DecimalExponent, Factor::Ten(power)))
}

/// The magnitude in nano-units, rounded up and capped.
fn magnitude(whole: &str, fraction: &str, factor: Factor) -> i128 {
    let whole = whole.trim_start_matches('0');
    let fraction = fraction.trim_end_matches('0');
    if whole.is_empty() && fraction.bytes().all(|b| b == b'0') {
        return 0;
    }
    if whole.len() > MAX_DIGITS {
        // Only a large negative exponent could bring it back into range, and it cannot by 1000.
        if let Factor::Ten(power) = factor
            && i64::from(power) + i64::try_from(whole.len()).unwrap_or(i64::MAX) < 20
        {
            return 1;
        }
        return LIMIT;
    }
    // Digits beyond the sixty-fourth only decide whether there is a rest to round up.
    let kept = &fraction[..fraction.len().min(MAX_DIGITS)];
    let sticky = fraction.len() > kept.len();
    let (power, bits) = match factor {
        Factor::Ten(power) => (power, 0),
        Factor::Two(bits) => (0, bits),
    };
    let digits = whole.bytes().chain(kept.bytes()).map(|b| u32::from(b - b'0'));
    let mut big = Decimal::from_digits(digits);
    big.shift_left(bits);
    let scale = power + 9 - i32::try_from(kept.len()).unwrap_or(i32::MAX);
    big.into_scaled(scale, sticky).min(LIMIT)
}

/// An unsigned integer wide enough for the digits a quantity may be written with.
struct Decimal {
    /// Little-endian base 10^9.
    limbs: Vec<u64>,
}

const LIMB: u64 = 1_000_000_000;

impl Decimal {
    fn from_digits(digits: impl Iterator<Item = u32>) -> Self {
        let mut this = Self { limbs: vec![0] };
        for digit in digits {
            this.multiply(10, u64::from(digit));
        }
        this
    }

    fn multiply(&mut self, by: u64, mut carry: u64) {
        for limb in &mut self.limbs {
            let value = *limb * by + carry;
            *limb = value % LIMB;
            carry = value / LIMB;
        }
        if carry > 0 {
            self.limbs.push(carry);
        }
    }

    fn shift_left(&mut self, bits: u32) {
        for _ in 0..bits / 10 {
            self.multiply(1024, 0);
        }
    }

    /// Divides by ten and returns the remainder.
    fn pop_digit(&mut self) -> u64 {
        let mut rest = 0;
        for limb in self.limbs.iter_mut().rev() {
            let value = rest * LIMB + *limb;
            *limb = value / 10;
            rest = value % 10;
        }
        rest
    }

    fn is_zero(&self) -> bool {
        self.limbs.iter().all(|limb| *limb == 0)
    }

    /// The number times ten to the `scale`, rounded up, capped at the limit.
    fn into_scaled(mut self, scale: i32, mut sticky: bool) -> i128 {
        for _ in 0..scale.min(0).unsigned_abs() {
            if self.is_zero() {
                break;
            }
            sticky |= self.pop_digit() != 0;
        }
        let mut value: i128 = 0;
        for limb in self.limbs.iter().rev() {
            value = value.saturating_mul(i128::from(LIMB)).saturating_add(i128::from(*limb));
        }
        for _ in 0..scale.max(0) {
            if value == 0 || value > LIMIT {
                break;
            }
            value = value.saturating_mul(10);
        }
        value.saturating_add(i128::from(sticky))
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nano == 0 {
            return f.write_str("0");
        }
        let small = self.nano.abs() < 1024 * NANO;
        match self.format {
            Format::BinarySi if !small => {
                let mut value = div_away(self.nano, NANO);
                let mut step = 0;
                while value % 1024 == 0 && step < BINARY.len() {
                    value /= 1024;
                    step += 1;
                }
                let suffix = step.checked_sub(1).map_or("", |at| BINARY[at].0);
                write!(f, "{value}{suffix}")
            }
            Format::DecimalExponent => {
                let (value, power) = reduce(self.nano);
                match power {
                    0 => write!(f, "{value}"),
                    power => write!(f, "{value}e{power}"),
                }
            }
            _ => {
                let (value, power) = reduce(self.nano);
                let suffix = DECIMAL.iter().find(|(_, known)| *known == power);
                write!(f, "{value}{}", suffix.map_or("", |(suffix, _)| suffix))
            }
        }
    }
}

/// The smallest mantissa with an exponent that is a multiple of three, up to `E`.
fn reduce(nano: i128) -> (i128, i32) {
    let (mut value, mut power) = (nano, -9);
    while value % 1000 == 0 && power < 18 {
        value /= 1000;
        power += 3;
    }
    (value, power)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(text: &str) -> String {
        text.parse::<Quantity>().unwrap().to_string()
    }

    #[test]
    fn canonical_form_is_gos() {
        for (text, expected) in [
            ("0", "0"),
            ("0Ki", "0"),
            ("1.5", "1500m"),
            ("1.5Gi", "1536Mi"),
            ("1024Ki", "1Mi"),
            ("1023", "1023"),
            ("1000", "1k"),
            ("0.5Ki", "512"),
            ("0.5Mi", "512Ki"),
            ("100m", "100m"),
            ("0.1m", "100u"),
            ("0.1n", "1n"),
            ("-0.1n", "-1n"),
            ("1e3", "1e3"),
            ("1E3", "1e3"),
            ("12e-1", "1200e-3"),
            ("+5", "5"),
            (".5", "500m"),
            ("5.", "5"),
            ("1.00001Ki", "1025"),
            ("9223372036854775808", "9223372036854775807"),
            ("1e-2147483649", "1e-9"),
            ("2000000000", "2G"),
        ] {
            assert_eq!(canonical(text), expected, "{text}");
        }
        // Beyond the range the value is capped, whatever it was written as.
        for text in ["10E", "16Ei", "1e2147483648"] {
            assert_eq!(text.parse::<Quantity>().unwrap().units(), i64::MAX, "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "-", ".", "1.2.3", "1k1", "abc", "1 ", " 1", "1e", "1ee3", "1Kii", "１"] {
            assert_eq!(text.parse::<Quantity>(), Err(ParseQuantityError), "{text}");
        }
    }

    #[test]
    fn arithmetic_saturates_and_keeps_the_format() {
        let sum: Quantity = "1Gi".parse::<Quantity>().unwrap() + "512Mi".parse().unwrap();
        assert_eq!(sum.to_string(), "1536Mi");
        let max = Quantity::from_units(i64::MAX, Format::DecimalSi);
        assert_eq!((max + max).units(), i64::MAX);
        assert_eq!((-max - max).units(), -i64::MAX);
        assert_eq!("1500m".parse::<Quantity>().unwrap().units(), 2);
        assert_eq!("1".parse::<Quantity>().unwrap().milli(), 1000);
    }

    proptest! {
        #[test]
        fn any_text_parses_or_is_refused(text in ".{0,40}") {
            let _ = text.parse::<Quantity>();
        }

        #[test]
        fn canonical_form_is_a_fixed_point(
            text in "[+-]?[0-9]{1,20}(\\.[0-9]{0,12})?([numkMGTPE]|[KMGTPE]i|e-?[0-9]{1,2})?"
        ) {
            let value: Quantity = text.parse().unwrap();
            let printed = value.to_string();
            let again: Quantity = printed.parse().unwrap();
            // Binary forms print whole units, rounded up, as upstream does.
            if value.format() != Format::BinarySi {
                prop_assert_eq!(again, value);
            }
            prop_assert_eq!(again.to_string(), printed);
        }

        #[test]
        fn milli_round_trips(milli in any::<i32>()) {
            let quantity = Quantity::from_milli(i64::from(milli));
            let printed: Quantity = quantity.to_string().parse().unwrap();
            prop_assert_eq!(printed.milli(), i64::from(milli));
        }
    }
}
