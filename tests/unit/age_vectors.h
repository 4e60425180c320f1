/* SPDX-License-Identifier: MIT */
/* age_vectors - files of age 1.1.1 and keys of age-keygen. The key of the first stanza of several is one of SSH. */
#ifndef USP_TESTS_AGE_VECTORS_H
#define USP_TESTS_AGE_VECTORS_H

#define AGE_IDENTITY_1 "AGE-SECRET-KEY-1SJAC3YAW20YQLJJLN6ESJYH6WFULU5WDDK30X79KUU5YTP6M3T5SU5VGN8"
#define AGE_RECIPIENT_1 "age1zsq5jaq208393tzwsku8pxlhe7f4ympk5znkh7s3l2alyc6rn5qscshkq5"
#define AGE_IDENTITY_2 "AGE-SECRET-KEY-1RLTD0ZXM5GWFV4D200QX8REJULH8S8K78AAQYY6Z7ZJ28CTFTL2QNGQGM5"
#define AGE_RECIPIENT_2 "age10x6g5xzuxf43atqmjsxr59xuf8679vy8pf8kqxu7pr88m9n7qg5qeed3wc"
#define AGE_PASSPHRASE "correct horse"

static const unsigned char age_empty[] = "age-encryption.org/v1\n"
					 "-> X25519 vIDBdljDge5A/FHBPTevAFtjjbYaAlyi4baWY7JCNHM\n"
					 "tFGtjgBPzdVA7LjFShqLyykxo+gKkoYfR68aANz7vqY\n"
					 "--- pm6VHWiVNikmXtcrPpynqwc9znfZiPoSsBDbbDEFsFc\n"
					 "\x7f\xb1\x2a\x68\xfb\x08\x85\x7b\x84\x2e\xa6\xba\xca\xb3\x5a\x57"
					 "\x61\x6a\x3a\x74\x4c\xad\xd7\xef\x59\x44\xb8\x86\xe6\xb6\xa6\x82";

static const unsigned char age_one[] = "age-encryption.org/v1\n"
				       "-> X25519 bRPEOc6tYa9FuTQTg6wI4JGO30UKZzJCw79WLiR9pCc\n"
				       "YSi52sZQWNBXIUxVmj/vkF7+h1qT0QB/ICjL4IUqB0A\n"
				       "--- jV5qjHu0PZfaAhMO9xrdvYwZenhmouKzCDelcq9c1dM\n"
				       "\x07\x26\x0b\x6a\x26\x08\x7e\x93\xf8\xfd\xc0\xcf\x3c\xd4\x79\x6d"
				       "\xb6\xe0\x9a\xfb\x8e\xa6\x1f\x98\x09\x23\xd1\x90\xc7\xb9\x66\x16"
				       "\xaf";

static const unsigned char age_several[] = "age-encryption.org/v1\n"
					   "-> X25519 U7uL4/0M+fZqpUec93euymrnN1swMwKOvB1C/9MNRh0\n"
					   "Q/2ibB3uy1h6hpsPg+6Ihov7HiK2dfBfGvQ2DUeSTps\n"
					   "-> X25519 WUK3yb6Oq0NMfNaP2IfW43Z8jWgnWPgWhgJEG9aQjEU\n"
					   "ArECDD94cmTA3aQsLmj47xfQYQnkIzb0hqThHbLpjGA\n"
					   "-> ssh-ed25519 3OShHQ a91qfcgXILCi6hw1TnrIfcbcNrmNXQU0EXJeBZjXunc\n"
					   "hiFHwVsKOLhUY9s5xV9EZYwMbhqMzUVDOHWGGd7EM+s\n"
					   "--- WuJ+4OT60VinSgNnP+0LkoBISk9GPJhjFrgn7Ny4Xhk\n"
					   "\xc0\x42\x59\x09\xef\x19\xdc\x32\x44\x8f\x2d\x0c\x04\x90\x88\x0d"
					   "\x13\xee\x1e\x2a\x2f\xe3\xf3\x5c\x08\x32\x38\x59\x3e\xd4\x3f\x60"
					   "\x96\xd9\x36\xdb\xa1\x15\xcb\xb4\xb9\x57\xab\x3d\x3a\x54\x52\x11"
					   "\x16\x32\x81\xb9\xdb\xe6\xf4";

static const unsigned char age_passphrase[] = "age-encryption.org/v1\n"
					      "-> scrypt qs8PmQ8isQYQyTFdDBiVeQ 18\n"
					      "89R2+/JPSo0fS8HCvfBTRRaQ9bKC0w3O4A6T9Kp37nU\n"
					      "--- TQHTJ2sapkVT7ZgsjciIkR0yI6uGrW/aEP3lx2/c95k\n"
					      "\x99\xe5\x8e\xa4\xcd\xfe\xd6\x15\x2f\x1d\x84\x18\x62\x23\xfc\x69"
					      "\x6b\x75\xb0\xc2\xf5\x5f\xe5\x07\x04\x4e\x7a\xd0\xeb\x8c\xa9\xb3"
					      "\x83\x2b\xa8\x53\x88\x20\x5d\xca\x2f\x72\x4a\x3d\xbd\x30\xb4\xe3";

#endif
