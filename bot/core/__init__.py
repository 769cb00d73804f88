"""What the bot does, free of vendors: no Discord, no OpenAI, no Whisper, no clock of its own."""
