//! Sizes in bytes as people write them.

/// Parses a size such as `64MiB`, `1GB` or `2000000`, in bytes.
///
/// # Errors
/// A message with the expected form.
pub fn parse_size(text: &str) -> Result<usize, String> {
    let invalid = || format!("must be a size such as 64MiB or 1GB, not {text:?}");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit: usize = match unit {
        "" | "B" => 1,
        "kB" | "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(invalid()),
    };
    let number: usize = number.parse().map_err(|_| invalid())?;
    number.checked_mul(unit).ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("64MiB", Some(64 << 20))]
    #[case("1GB", Some(1_000_000_000))]
    #[case("2000000", Some(2_000_000))]
    #[case("1kB", Some(1_000))]
    #[case("0", Some(0))]
    #[case("", None)]
    #[case("MiB", None)]
    #[case("1 MB", None)]
    #[case("-1MB", None)]
    #[case("99999999999999GiB", None)]
    fn parses_sizes(#[case] text: &str, #[case] size: Option<usize>) {
        assert_eq!(parse_size(text).ok(), size);
    }
}
