//! What a buyer does who comes back.
