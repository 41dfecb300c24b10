use std::{io::Cursor, sync::LazyLock};

use futures_util::future::join_all;
use image::{ExtendedColorType, GrayImage, ImageEncoder, codecs::png::PngEncoder};
use proptest::{prelude::*, test_runner::TestCaseError};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::running::{Vision, json, post, sample};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
/// Shared by all cases, so that a later one fails if an earlier one broke the service.
static VISION: LazyLock<Vision> = LazyLock::new(|| RUNTIME.block_on(Vision::with_long_deadlines()));

fn classify(bytes: Vec<u8>) -> (u16, Value) {
    RUNTIME.block_on(VISION.classify(bytes))
}

fn png() -> Vec<u8> {
    sample(4).png().unwrap()
}

fn jpeg() -> Vec<u8> {
    sample(4).jpeg().unwrap()
}

/// A small PNG whose header declares this size, with a valid checksum.
fn claiming(width: u32, height: u32) -> Vec<u8> {
    let mut png = png();
    png[16..20].copy_from_slice(&width.to_be_bytes());
    png[20..24].copy_from_slice(&height.to_be_bytes());
    let sum = crc(&png[12..29]);
    png[29..33].copy_from_slice(&sum.to_be_bytes());
    png
}

/// The checksum of PNG, with the polynomial of ISO 3309.
fn crc(bytes: &[u8]) -> u32 {
    let step = |sum: u32, _| (sum >> 1) ^ (0xedb8_8320 * (sum & 1));
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), step)
    })
}

/// A large picture of one colour, which compresses to a small file.
fn plain(width: u32, height: u32) -> Vec<u8> {
    let picture = GrayImage::new(width, height);
    let mut png = Vec::new();
    PngEncoder::new(Cursor::new(&mut png))
        .write_image(&picture, width, height, ExtendedColorType::L8)
        .unwrap();
    png
}

/// A JPEG that makes zune-jpeg 0.5.15 panic: a progressive frame of two components, which an Adobe
/// segment declares to be YCCK.
fn two_components() -> Vec<u8> {
    let adobe = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\x02";
    let table = [b"\xff\xdb\0\x43\0".to_vec(), vec![1; 64]].concat();
    let frame = b"\xff\xc2\0\x0e\x08\0\x01\0\x01\x02\x01\x11\0\x02\x11\0";
    let scan = b"\xff\xda\0\x08\x01\x01\0\0\0\0";
    [&b"\xff\xd8"[..], adobe, &table, frame, scan, b"\xff\xd9"].concat()
}

#[test]
fn png_and_jpeg_are_classified() {
    for (bytes, format) in [(png(), "png"), (jpeg(), "jpeg")] {
        let (status, response) = classify(bytes);
        assert_eq!(status, 200, "{response}");
        assert_eq!(response["image"]["format"], format);
    }
}

#[rstest::rstest]
#[case::nothing(vec![], 400, "the body is empty")]
#[case::text(b"hello".to_vec(), 415, "must be PNG or JPEG")]
#[case::gif(b"GIF89a\x01\0\x01\0\0\0\0;".to_vec(), 415, "PNG or JPEG, not gif")]
#[case::svg(b"<svg xmlns='http://www.w3.org/2000/svg'/>".to_vec(), 415, "must be PNG or JPEG")]
#[case::only_the_magic(b"\x89PNG\r\n\x1a\n".to_vec(), 422, "the png is invalid")]
#[case::only_the_magic_of_a_jpeg(b"\xff\xd8\xff\xe0".to_vec(), 422, "the jpeg is invalid")]
#[case::half(png()[..png().len() / 2].to_vec(), 422, "the png is invalid")]
#[case::no_pixels(claiming(0, 0), 422, "the png is invalid")]
#[case::too_many_pixels(claiming(60_000, 60_000), 413, "60000 x 60000 pixels")]
#[case::absurdly_many_pixels(claiming(u32::MAX >> 1, u32::MAX >> 1), 413, "send a smaller picture")]
#[case::a_bomb(plain(7000, 7000), 413, "7000 x 7000 pixels")]
#[case::claims_more_than_it_holds(claiming(2000, 2000), 422, "the png is invalid")]
#[case::a_decoder_that_panics(two_components(), 422, "the picture is invalid")]
#[case::too_long(vec![0x89; 8 * 1024 * 1024 + 1], 413, "longer than 8388608 bytes")]
fn bodies_that_are_not_pictures_are_refused(
    #[case] body: Vec<u8>,
    #[case] status: u16,
    #[case] expected: &str,
) {
    let (actual, problem) = classify(body);
    assert_eq!(actual, status, "{problem}");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains(expected), "{problem}");
    assert_eq!(problem["traceId"].as_str().unwrap().len(), 32);
}

#[rstest::rstest]
#[case(6000, 6000)]
#[case(100_000, 1)]
#[case(1, 100_000)]
#[case(1, 1)]
fn unusual_sizes_are_classified(#[case] width: u32, #[case] height: u32) {
    let (status, response) = classify(plain(width, height));
    assert_eq!(status, 200, "{response}");
}

#[test]
fn cross_site_uploads_are_refused() {
    let address = VISION.preprocessing.address;
    let (status, problem) = RUNTIME.block_on(async {
        let request = reqwest::Client::new()
            .post(format!("http://{address}/classify"))
            .header("sec-fetch-site", "cross-site")
            .body(png());
        json(request.send().await.unwrap()).await
    });
    assert_eq!(status, 403, "{problem}");
}

#[test]
fn concurrent_uploads_use_bounded_memory() {
    classify(png());
    let before = peak();
    let bomb = bytes::Bytes::from(plain(6000, 6000));
    let address = VISION.preprocessing.address;
    let responses = RUNTIME.block_on(join_all((0..16).map(|_| post(address, bomb.clone()))));
    for response in responses {
        let status = response.status().as_u16();
        assert!(matches!(status, 200 | 429 | 504), "{status}");
    }
    // Decoded at the same time, they would need 576 MB, and four times as much for processing.
    let grown = peak() - before;
    assert!(grown < 400, "{grown} MB");
}

#[rstest::rstest]
#[case::beyond_what_a_picture_may_take(64)]
#[case::within_it(39)]
fn a_colour_profile_bomb_is_not_decompressed(#[case] megabytes: usize) {
    let profile = vec![0; megabytes * 1024 * 1024];
    let mut png = Vec::new();
    let mut encoder = PngEncoder::new(Cursor::new(&mut png));
    encoder.set_icc_profile(profile).unwrap();
    encoder
        .write_image(&[0], 1, 1, ExtendedColorType::L8)
        .unwrap();
    assert!(png.len() < 1024 * 1024, "{}", png.len());
    let before = peak();
    check_status(png).unwrap();
    assert!(peak() - before < 100, "{} MB", peak() - before);
}

/// The peak memory of this process, in MB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes / 1024
}

/// Asserts that a body is classified or refused with a fitting status.
fn check_status(body: Vec<u8>) -> Result<(), TestCaseError> {
    let (status, response) = classify(body);
    let expected = matches!(status, 200 | 400 | 413 | 415 | 422);
    prop_assert!(expected, "{status}: {response}");
    Ok(())
}

fn mutated(mut picture: Vec<u8>, changes: Vec<(prop::sample::Index, u8)>) -> Vec<u8> {
    for (place, byte) in changes {
        let place = place.index(picture.len());
        picture[place] = byte;
    }
    picture
}

/// The file with valid checksums, so that the mutation gets past them.
fn with_checksums(mut png: Vec<u8>) -> Vec<u8> {
    let mut at = 8;
    while let Some(head) = png.get(at..at + 4) {
        let length = u32::from_be_bytes(head.try_into().unwrap()) as usize;
        let end = at.saturating_add(8).saturating_add(length);
        if end.saturating_add(4) > png.len() {
            break;
        }
        let sum = crc(&png[at + 4..end]);
        png[end..end + 4].copy_from_slice(&sum.to_be_bytes());
        at = end + 4;
    }
    png
}

fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, u8)>> {
    prop::collection::vec(any::<(prop::sample::Index, u8)>(), 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn random_bytes_do_no_harm(body in prop::collection::vec(any::<u8>(), 0..512)) {
        check_status(body)?;
    }

    #[test]
    fn a_mutated_png_does_no_harm(changes in changes()) {
        check_status(mutated(png(), changes.clone()))?;
        check_status(with_checksums(mutated(png(), changes)))?;
    }

    #[test]
    fn a_mutated_jpeg_does_no_harm(changes in changes()) {
        check_status(mutated(jpeg(), changes))?;
    }

    #[test]
    fn a_truncated_picture_does_no_harm(at in any::<prop::sample::Index>()) {
        for picture in [png(), jpeg()] {
            let at = at.index(picture.len());
            check_status(picture[..at].to_vec())?;
        }
    }

    #[test]
    fn any_declared_size_does_no_harm(width in any::<u32>(), height in any::<u32>()) {
        check_status(claiming(width, height))?;
    }
}
