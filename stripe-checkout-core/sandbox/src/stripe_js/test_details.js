// The test cards and accounts that the forms offer.

/** @type {TestCard[]} */
const FIRST_CARDS = [
  { number: "4242424242424242", then: "Succeeds" },
  { number: "4000000000000002", then: "Is declined" },
  { number: "4000002500003155", then: "3-D Secure" },
];
/** @type {TestCard[]} */
const MORE_CARDS = [
  { number: "4000000000009995", then: "Insufficient funds" },
  { number: "4000000000000069", then: "Expired card" },
  { number: "4000000000000127", then: "Wrong CVC" },
  { number: "4000000000000119", then: "Processing error" },
  { number: "4000002760003184", then: "3-D Secure each time" },
  { number: "4000000000003220", then: "3-D Secure 2" },
  { number: "4000000000000341", then: "Can be saved, then declined" },
  { number: "4000000000000077", then: "Available at once" },
  { number: "4000000000000259", then: "Disputed later" },
  { number: "4000000000001976", then: "The bank asks later" },
  { number: "4000000000007726", then: "Refunds are pending" },
  { number: "4000000000005126", then: "Refunds come back" },
  { number: "4000000000001000", then: "Stays processing" },
  { number: "5555555555554444", then: "Succeeds (Mastercard)" },
  { number: "378282246310005", then: "Succeeds (American Express)" },
];

/** @type {TestAccount[]} */
const FIRST_ACCOUNTS = [
  { iban: "DE89370400440532013000", then: "Succeeds after a while" },
  { iban: "DE62370400440532013001", then: "Fails after a while" },
  { iban: "DE35370400440532013002", then: "Disputed later" },
];
/** @type {TestAccount[]} */
const MORE_ACCOUNTS = [
  { iban: "DE08370400440532013003", then: "Succeeds in three minutes" },
  { iban: "DE78370400440532013004", then: "Fails in three minutes" },
  { iban: "DE65370400440002222227", then: "Insufficient funds" },
  { iban: "FR1420041010050500013M02606", then: "Succeeds (France)" },
];
