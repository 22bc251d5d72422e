"""The fast path under AddressSanitizer, UndefinedBehaviorSanitizer and ThreadSanitizer."""
