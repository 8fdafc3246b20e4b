//! Currencies, with the number of decimal places that *Stripe* gives them.
//!
//! Some of Stripe's exponents differ from ISO 4217 (ISK and UGX have two decimals here, MGA none).
//! A wrong exponent charges a buyer a hundred times too much. So only this file contains them, and
//! all other code uses it.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};
use thiserror::Error;

/// A currency, by its three-letter code (ISO 4217).
///
/// Every currency that Stripe accepts is a constant, like [`Currency::EUR`]; [`Currency::KNOWN`]
/// lists them. Any other well-formed code parses too, so that an event in a currency that this
/// release does not know is not lost. Such a currency has two decimal places, as nearly all have.
///
/// It prints in upper case. serde reads and writes it in lower case, as in Stripe's API.
///
/// See Stripe's [supported currencies](https://docs.stripe.com/currencies).
///
/// ```
/// use stripe_checkout_core::Currency;
///
/// let currency: Currency = "EUR".parse()?;
/// assert_eq!(currency, Currency::EUR);
/// assert_eq!(currency.code(), "eur");
/// assert_eq!(currency.to_string(), "EUR");
/// assert_eq!(Currency::JPY.decimals(), 0);
/// # Ok::<(), stripe_checkout_core::CurrencyError>(())
/// ```
// Always three lower-case ASCII letters: only the constants below and `from_str` make one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Currency([u8; 3]);

macro_rules! currencies {
    ($($code:ident $bytes:literal $name:literal,)*) => {
        impl Currency {
            $(
                #[doc = $name]
                pub const $code: Currency = Currency(*$bytes);
            )*

            /// Every currency that has a constant, in alphabetical order.
            ///
            /// It is not called `ALL`, because that is the Albanian lek.
            pub const KNOWN: &'static [Currency] = &[$(Currency::$code),*];
        }

        #[cfg(test)]
        const NAMES: &[&str] = &[$(stringify!($code)),*];
    };
}

// The currencies that Stripe's API lists if it refuses a currency, without USDC (four letters, no
// charges) and without historical ones: BGN, EEK, HRK, LTL, LVL, MRO, SLL, VEF.
currencies! {
    AED b"aed" "United Arab Emirates dirham",
    AFN b"afn" "Afghan afghani",
    ALL b"all" "Albanian lek",
    AMD b"amd" "Armenian dram",
    ANG b"ang" "Netherlands Antillean guilder, which XCG replaces",
    AOA b"aoa" "Angolan kwanza",
    ARS b"ars" "Argentine peso",
    AUD b"aud" "Australian dollar",
    AWG b"awg" "Aruban florin",
    AZN b"azn" "Azerbaijani manat",
    BAM b"bam" "Bosnia and Herzegovina convertible mark",
    BBD b"bbd" "Barbadian dollar",
    BDT b"bdt" "Bangladeshi taka",
    BHD b"bhd" "Bahraini dinar",
    BIF b"bif" "Burundian franc",
    BMD b"bmd" "Bermudian dollar",
    BND b"bnd" "Brunei dollar",
    BOB b"bob" "Bolivian boliviano",
    BRL b"brl" "Brazilian real",
    BSD b"bsd" "Bahamian dollar",
    BTN b"btn" "Bhutanese ngultrum",
    BWP b"bwp" "Botswana pula",
    BYN b"byn" "Belarusian ruble",
    BZD b"bzd" "Belize dollar",
    CAD b"cad" "Canadian dollar",
    CDF b"cdf" "Congolese franc",
    CHF b"chf" "Swiss franc",
    CLP b"clp" "Chilean peso",
    CNY b"cny" "Chinese renminbi yuan",
    COP b"cop" "Colombian peso",
    CRC b"crc" "Costa Rican colón",
    CVE b"cve" "Cape Verdean escudo",
    CZK b"czk" "Czech koruna",
    DJF b"djf" "Djiboutian franc",
    DKK b"dkk" "Danish krone",
    DOP b"dop" "Dominican peso",
    DZD b"dzd" "Algerian dinar",
    EGP b"egp" "Egyptian pound",
    ETB b"etb" "Ethiopian birr",
    EUR b"eur" "Euro",
    FJD b"fjd" "Fijian dollar",
    FKP b"fkp" "Falkland Islands pound",
    GBP b"gbp" "British pound",
    GEL b"gel" "Georgian lari",
    GHS b"ghs" "Ghanaian cedi",
    GIP b"gip" "Gibraltar pound",
    GMD b"gmd" "Gambian dalasi",
    GNF b"gnf" "Guinean franc",
    GTQ b"gtq" "Guatemalan quetzal",
    GYD b"gyd" "Guyanese dollar",
    HKD b"hkd" "Hong Kong dollar",
    HNL b"hnl" "Honduran lempira",
    HTG b"htg" "Haitian gourde",
    HUF b"huf" "Hungarian forint",
    IDR b"idr" "Indonesian rupiah",
    ILS b"ils" "Israeli new shekel",
    INR b"inr" "Indian rupee",
    ISK b"isk" "Icelandic króna",
    JMD b"jmd" "Jamaican dollar",
    JOD b"jod" "Jordanian dinar",
    JPY b"jpy" "Japanese yen",
    KES b"kes" "Kenyan shilling",
    KGS b"kgs" "Kyrgyzstani som",
    KHR b"khr" "Cambodian riel",
    KMF b"kmf" "Comorian franc",
    KRW b"krw" "South Korean won",
    KWD b"kwd" "Kuwaiti dinar",
    KYD b"kyd" "Cayman Islands dollar",
    KZT b"kzt" "Kazakhstani tenge",
    LAK b"lak" "Lao kip",
    LBP b"lbp" "Lebanese pound",
    LKR b"lkr" "Sri Lankan rupee",
    LRD b"lrd" "Liberian dollar",
    LSL b"lsl" "Lesotho loti",
    MAD b"mad" "Moroccan dirham",
    MDL b"mdl" "Moldovan leu",
    MGA b"mga" "Malagasy ariary",
    MKD b"mkd" "Macedonian denar",
    MMK b"mmk" "Myanmar kyat",
    MNT b"mnt" "Mongolian tögrög",
    MOP b"mop" "Macanese pataca",
    MUR b"mur" "Mauritian rupee",
    MVR b"mvr" "Maldivian rufiyaa",
    MWK b"mwk" "Malawian kwacha",
    MXN b"mxn" "Mexican peso",
    MYR b"myr" "Malaysian ringgit",
    MZN b"mzn" "Mozambican metical",
    NAD b"nad" "Namibian dollar",
    NGN b"ngn" "Nigerian naira",
    NIO b"nio" "Nicaraguan córdoba",
    NOK b"nok" "Norwegian krone",
    NPR b"npr" "Nepalese rupee",
    NZD b"nzd" "New Zealand dollar",
    OMR b"omr" "Omani rial",
    PAB b"pab" "Panamanian balboa",
    PEN b"pen" "Peruvian sol",
    PGK b"pgk" "Papua New Guinean kina",
    PHP b"php" "Philippine peso",
    PKR b"pkr" "Pakistani rupee",
    PLN b"pln" "Polish złoty",
    PYG b"pyg" "Paraguayan guaraní",
    QAR b"qar" "Qatari riyal",
    RON b"ron" "Romanian leu",
    RSD b"rsd" "Serbian dinar",
    RUB b"rub" "Russian ruble",
    RWF b"rwf" "Rwandan franc",
    SAR b"sar" "Saudi riyal",
    SBD b"sbd" "Solomon Islands dollar",
    SCR b"scr" "Seychellois rupee",
    SEK b"sek" "Swedish krona",
    SGD b"sgd" "Singapore dollar",
    SHP b"shp" "Saint Helenian pound",
    SLE b"sle" "Sierra Leonean leone",
    SOS b"sos" "Somali shilling",
    SRD b"srd" "Surinamese dollar",
    STD b"std" "São Tomé and Príncipe dobra",
    SVC b"svc" "Salvadoran colón",
    SZL b"szl" "Swazi lilangeni",
    THB b"thb" "Thai baht",
    TJS b"tjs" "Tajikistani somoni",
    TND b"tnd" "Tunisian dinar",
    TOP b"top" "Tongan paʻanga",
    TRY b"try" "Turkish lira",
    TTD b"ttd" "Trinidad and Tobago dollar",
    TWD b"twd" "New Taiwan dollar",
    TZS b"tzs" "Tanzanian shilling",
    UAH b"uah" "Ukrainian hryvnia",
    UGX b"ugx" "Ugandan shilling",
    USD b"usd" "United States dollar",
    UYU b"uyu" "Uruguayan peso",
    UZS b"uzs" "Uzbekistani som",
    VND b"vnd" "Vietnamese đồng",
    VUV b"vuv" "Vanuatu vatu",
    WST b"wst" "Samoan tala",
    XAF b"xaf" "Central African CFA franc",
    XCD b"xcd" "East Caribbean dollar",
    XCG b"xcg" "Caribbean guilder",
    XOF b"xof" "West African CFA franc",
    XPF b"xpf" "CFP franc",
    YER b"yer" "Yemeni rial",
    ZAR b"zar" "South African rand",
    ZMW b"zmw" "Zambian kwacha",
}

impl Currency {
    /// The code in lower case, as Stripe's API expects it.
    pub const fn code(&self) -> &str {
        match std::str::from_utf8(&self.0) {
            Ok(code) => code,
            Err(_) => "", // Never: the bytes are ASCII letters.
        }
    }

    /// Whether this currency has a constant here.
    ///
    /// If so, its decimal places are known and not assumed.
    pub fn is_known(self) -> bool {
        Self::KNOWN.binary_search(&self).is_ok()
    }

    /// The number of decimal places between Stripe's minor unit and the major unit: 0, 2 or 3.
    ///
    /// Stripe has [zero-decimal](https://docs.stripe.com/currencies#zero-decimal) and
    /// [three-decimal](https://docs.stripe.com/currencies#three-decimal) currencies. All others
    /// have two decimal places, including ISK and UGX, whose minor unit is not in use: see
    /// [`multiple`](Self::multiple).
    pub const fn decimals(self) -> u8 {
        match self {
            Self::BIF
            | Self::CLP
            | Self::DJF
            | Self::GNF
            | Self::JPY
            | Self::KMF
            | Self::KRW
            | Self::MGA
            | Self::PYG
            | Self::RWF
            | Self::VND
            | Self::VUV
            | Self::XAF
            | Self::XOF
            | Self::XPF => 0,
            Self::BHD | Self::JOD | Self::KWD | Self::OMR | Self::TND => 3,
            _ => 2,
        }
    }

    /// The number of minor units of which an amount should be a multiple.
    ///
    /// It is 100 for ISK and UGX, 10 for the three-decimal currencies, otherwise 1.
    ///
    /// [Stripe refuses] other amounts of ISK and UGX, and so does [`Amount`](crate::Amount).
    /// Stripe's documentation also requires a last digit of 0 in the three-decimal currencies. It
    /// is not certain that Stripe still enforces that, so it is advice only: see
    /// [`Amount::off_multiple`](crate::Amount::off_multiple).
    ///
    /// [Stripe refuses]: https://docs.stripe.com/currencies#special-cases
    pub const fn multiple(self) -> u64 {
        match self.decimals() {
            3 => 10,
            _ => self.step(),
        }
    }

    /// The smallest amount that exists in this currency, in minor units.
    ///
    /// This is the part of [`multiple`](Self::multiple) that is certain.
    pub(crate) const fn step(self) -> u64 {
        match self {
            Self::ISK | Self::UGX => 100,
            _ => 1,
        }
    }

    /// Stripe's minimum charge in minor units, if Stripe has one.
    pub(crate) const fn minimum_minor(self) -> Option<u64> {
        Some(match self {
            Self::GBP => 30,
            Self::ARS
            | Self::AUD
            | Self::BRL
            | Self::CAD
            | Self::CHF
            | Self::COP
            | Self::EUR
            | Self::IDR
            | Self::ILS
            | Self::INR
            | Self::JPY
            | Self::KRW
            | Self::NZD
            | Self::PHP
            | Self::RUB
            | Self::SGD
            | Self::USD
            | Self::ZAR => 50,
            Self::AED | Self::MYR | Self::PLN | Self::RON => 200,
            Self::DKK => 250,
            Self::NOK | Self::SEK => 300,
            Self::HKD => 400,
            Self::MXN | Self::THB => 1_000,
            Self::CZK => 1_500,
            Self::HUF => 17_500,
            _ => return None,
        })
    }
}

/// Why a text is not a currency code.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CurrencyError {
    /// A currency code is three ASCII letters (ISO 4217).
    #[error("a currency is three ASCII letters, like \"eur\"")]
    Malformed,
}

impl FromStr for Currency {
    type Err = CurrencyError;

    /// Parses a code in upper or lower case.
    ///
    /// Any three ASCII letters are a currency. [`is_known`](Self::is_known) says whether this crate
    /// knows it.
    ///
    /// # Errors
    /// [`CurrencyError::Malformed`] for anything but three ASCII letters.
    fn from_str(code: &str) -> Result<Self, CurrencyError> {
        match code.as_bytes() {
            &[a, b, c] if code.bytes().all(|byte| byte.is_ascii_alphabetic()) => {
                Ok(Self([a, b, c].map(|byte| byte.to_ascii_lowercase())))
            }
            _ => Err(CurrencyError::Malformed),
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.code().to_ascii_uppercase())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests;
