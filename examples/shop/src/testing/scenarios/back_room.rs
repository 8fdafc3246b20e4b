//! What a merchant does in the back room, and what the buyer sees of it.
