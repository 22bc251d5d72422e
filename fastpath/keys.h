// What topics and partitions are looked up by: numbers, and names where they lie. No key owns memory.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <string_view>

struct TopicId {  // its 16 bytes; all zero: of nothing
    uint64_t head{0}, tail{0};

    TopicId() = default;
    explicit TopicId(const void* bytes) { std::memcpy(this, bytes, sizeof(*this)); }
    const char* bytes() const { return reinterpret_cast<const char*>(this); }
    bool is_none() const { return head == 0 && tail == 0; }
};

inline bool operator==(const TopicId& one, const TopicId& other) { return one.head == other.head && one.tail == other.tail; }
inline bool operator<(const TopicId& one, const TopicId& other) { return std::memcmp(&one, &other, sizeof(one)) < 0; }
inline bool operator!=(const TopicId& one, const TopicId& other) { return !(one == other); }

// A partition, by its topic's id; or by its topic's name, where that has no id, or is not to be known by it.
struct Key {
    TopicId topic;
    std::string_view name;
    int32_t index{0};

    Key() = default;
    Key(const TopicId& topic, int32_t index) : topic(topic), index(index) {}
    Key(const TopicId& topic, std::string_view name, int32_t index) : topic(topic), index(index) {
        if (topic.is_none()) {
            this->name = name;
        }
    }
};

inline bool operator==(const Key& one, const Key& other) {
    return one.index == other.index && one.topic == other.topic && one.name == other.name;
}

inline bool operator!=(const Key& one, const Key& other) { return !(one == other); }

inline uint64_t mixed(uint64_t number) {  // the end of splitmix64: each bit depends on every other
    number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9;
    number = (number ^ number >> 27) * 0x94D049BB133111EB;
    return number ^ number >> 31;
}

template <> struct std::hash<TopicId> {
    size_t operator()(const TopicId& id) const { return mixed(id.head ^ mixed(id.tail)); }
};

template <> struct std::hash<Key> {
    size_t operator()(const Key& key) const {
        const uint64_t topic = key.topic.is_none() ? std::hash<std::string_view>()(key.name) : std::hash<TopicId>()(key.topic);
        return mixed(topic + static_cast<uint32_t>(key.index));
    }
};

// The numbers of some keys, 0, 1, 2 … in the order in which they first came. The room that it needs is lent to it.
class Places {
    Key* keys{nullptr};
    uint32_t* slots{nullptr};  // 1 + the number of a key, in the first free slot from where its hash is; 0: free
    size_t mask{0}, count{0};

    static size_t slots_for(size_t most) {
        size_t wanted = 2;
        while (wanted < 2 * most) {
            wanted *= 2;
        }
        return wanted;
    }

    uint32_t* slot_of(const Key& key) const {
        size_t at = std::hash<Key>()(key) & mask;
        while (slots[at] != 0 && !(keys[slots[at] - 1] == key)) {
            at = (at + 1) & mask;
        }
        return &slots[at];
    }

public:
    // The bytes of room, aligned for a number of 8 bytes, for so many keys at most.
    static size_t room_for(size_t most) { return most * sizeof(Key) + slots_for(most) * sizeof(uint32_t); }

    bool begin(void* room, size_t most) {  // false: there is no room
        if (room == nullptr) {
            return false;
        }
        keys = static_cast<Key*>(room);
        slots = reinterpret_cast<uint32_t*>(keys + most);
        mask = slots_for(most) - 1;
        count = 0;
        std::memset(slots, 0, (mask + 1) * sizeof(uint32_t));
        return true;
    }
    size_t size() const { return count; }
    size_t put(const Key& key) {  // the number of the key; the last one, if it is new
        uint32_t* slot = slot_of(key);
        if (*slot == 0) {
            keys[count] = key;
            *slot = static_cast<uint32_t>(++count);
        }
        return *slot - 1;
    }
    size_t find(const Key& key) const { return *slot_of(key) - size_t{1}; }  // NOWHERE: it was not put
};

constexpr size_t NOWHERE = ~size_t{0};
