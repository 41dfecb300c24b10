//! The bands with their reviews, which are made up.

use jiff::Timestamp;
use uuid::Uuid;

/// A band.
#[derive(Debug)]
pub(crate) struct Band {
    pub(crate) id: Uuid,
    pub(crate) created: Timestamp,
    pub(crate) name: &'static str,
    pub(crate) reviews: [Review; 2],
}

/// A review of a band.
#[derive(Debug)]
pub(crate) struct Review {
    pub(crate) id: Uuid,
    pub(crate) created: Timestamp,
    pub(crate) body: &'static str,
}

/// All reviews. The service bands knows only their IDs, and requests the rest.
pub(crate) fn reviews() -> impl Iterator<Item = &'static Review> {
    BANDS.iter().flat_map(|band| &band.reviews)
}

/// All bands.
// The IDs are constants, so that the URLs in documentation and tests are valid.
pub(crate) static BANDS: [Band; 4] = [
    Band {
        id: Uuid::from_u128(0x3f2b_8c1e_5d6a_4f7b_9c8d_1e2f_3a4b_5c6d),
        created: Timestamp::constant(1_717_236_000, 0),
        name: "The Tail Samplers",
        reviews: [
            Review {
                id: Uuid::from_u128(0x7c1d_5e90_2b4f_4a63_8d17_60f2_9b3e_a501),
                created: Timestamp::constant(1_719_847_200, 0),
                body: "Every other song is dropped, and you still know how the record goes.",
            },
            Review {
                id: Uuid::from_u128(0x1e8a_4c27_93d5_4f0b_b6a2_5d70_c418_fe02),
                created: Timestamp::constant(1_722_530_400, 0),
                body: "They decide after the last chord what to keep. Worth the wait.",
            },
        ],
    },
    Band {
        id: Uuid::from_u128(0x8e5d_2a90_47c1_4b3e_a6f0_9d18_c75b_e240),
        created: Timestamp::constant(1_717_839_900, 0),
        name: "Orphan Span",
        reviews: [
            Review {
                id: Uuid::from_u128(0xa5f3_0b6d_7e12_4c98_9f4e_83b1_0d2c_7603),
                created: Timestamp::constant(1_725_231_600, 0),
                body: "Nobody knows where they come from. Their manager has lost the context.",
            },
            Review {
                id: Uuid::from_u128(0x42b9_d7e8_15ac_4e36_a8c0_f91d_7364_5b04),
                created: Timestamp::constant(1_727_845_500, 0),
                body: "A lonely voice with no parent to be heard. Moving.",
            },
        ],
    },
    Band {
        id: Uuid::from_u128(0xc604_f7b3_9e2d_4185_8f5a_b37c_06d1_4e92),
        created: Timestamp::constant(1_718_448_300, 0),
        name: "Excess Baggage",
        reviews: [
            Review {
                id: Uuid::from_u128(0xd90e_6f14_c8b3_4725_8b5d_2e07_a6f9_1c05),
                created: Timestamp::constant(1_730_545_200, 0),
                body: "They carry more than they should, and all of it comes along to the encore.",
            },
            Review {
                id: Uuid::from_u128(0x6834_a2cf_b9d0_41e7_95f6_74c8_e15b_3d06),
                created: Timestamp::constant(1_733_140_800, 0),
                body: "Heavy. Somebody at the door should have looked inside their cases.",
            },
        ],
    },
    Band {
        id: Uuid::from_u128(0x19a7_e6d4_8b05_4c2f_b913_5fe0_72ac_d86b),
        created: Timestamp::constant(1_719_055_800, 0),
        name: "Head First",
        reviews: [
            Review {
                id: Uuid::from_u128(0xf76c_81b5_4d2e_4093_8a3c_b0e9_52d7_6407),
                created: Timestamp::constant(1_735_822_800, 0),
                body: "One look at the first note and they know whether to play on.",
            },
            Review {
                id: Uuid::from_u128(0x05d2_9ea7_6cf8_4b14_bd81_c36a_f094_2e08),
                created: Timestamp::constant(1_738_504_800, 0),
                body: "One concert in a hundred is recorded. The bootleg sounds like all of them.",
            },
        ],
    },
];
