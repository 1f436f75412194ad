"""TekNav ops: the job system and SRE workbench of a bilingual technology publication."""
