//! The reviews, which are made up.

use jiff::Timestamp;

use crate::Id;

/// A review.
#[derive(Debug)]
pub(super) struct Review {
    pub(super) id: Id,
    pub(super) created: Timestamp,
    pub(super) body: &'static str,
}

/// All reviews.
pub(super) const ALL: [Review; 8] = [
    Review {
        id: Id::known(0x7c1d_5e90_2b4f_4a63_8d17_60f2_9b3e_a501),
        created: Timestamp::constant(1_719_847_200, 0),
        body: "Every second song is dropped, and one still knows how the record goes.",
    },
    Review {
        id: Id::known(0x1e8a_4c27_93d5_4f0b_b6a2_5d70_c418_fe02),
        created: Timestamp::constant(1_722_530_400, 0),
        body: "They decide after the last chord what to keep. Worth the wait.",
    },
    Review {
        id: Id::known(0xa5f3_0b6d_7e12_4c98_9f4e_83b1_0d2c_7603),
        created: Timestamp::constant(1_725_231_600, 0),
        body: "Nobody knows where they come from. Their manager has lost the context.",
    },
    Review {
        id: Id::known(0x42b9_d7e8_15ac_4e36_a8c0_f91d_7364_5b04),
        created: Timestamp::constant(1_727_845_500, 0),
        body: "A lonely voice with no parent to be heard. Moving.",
    },
    Review {
        id: Id::known(0xd90e_6f14_c8b3_4725_8b5d_2e07_a6f9_1c05),
        created: Timestamp::constant(1_730_545_200, 0),
        body: "They carry more than they should, and all of it comes along to the encore.",
    },
    Review {
        id: Id::known(0x6834_a2cf_b9d0_41e7_95f6_74c8_e15b_3d06),
        created: Timestamp::constant(1_733_140_800, 0),
        body: "Heavy. Somebody at the door should have looked into their cases.",
    },
    Review {
        id: Id::known(0xf76c_81b5_4d2e_4093_8a3c_b0e9_52d7_6407),
        created: Timestamp::constant(1_735_822_800, 0),
        body: "One look at the first note and they know whether to play on.",
    },
    Review {
        id: Id::known(0x05d2_9ea7_6cf8_4b14_bd81_c36a_f094_2e08),
        created: Timestamp::constant(1_738_504_800, 0),
        body: "One concert in a hundred is recorded. The bootleg sounds like all of them.",
    },
];
