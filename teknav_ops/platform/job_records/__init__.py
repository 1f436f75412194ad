"""Records of jobs' work (a mail, a code, an AI run …) come to say how their jobs ended.

A processor writes its job's record. What befalls a job outside its processor (cancelled, its worker lost for good, a
payload that cannot be read any more, a replay) is written by two duties of the scheduler: one follows AuditLog and
looks at the records of the jobs that it names, one looks at records that have not ended for long. Either asks Redis
how the job stands *after* it has read the record, and changes the record only if it is still as it was read.
"""
